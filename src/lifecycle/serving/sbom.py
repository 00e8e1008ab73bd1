"""The bill of materials of a bundle, in CycloneDX 1.6; the same for the same bundle, so without a time."""

from collections.abc import Mapping, Sequence
from typing import Any

from lifecycle.serving.packages import Package


def describe_materials(manifest: Mapping[str, Any], packages: Sequence[Package]) -> dict[str, Any]:
    """Say what is in a bundle.

    Parameters
    ----------
    manifest : mapping
        As `lifecycle.serving.manifest.describe_model` gives it.
    packages : sequence of Package

    Returns
    -------
    dict
        A CycloneDX document; the hashes of a library are those of the files that the lock allows.
    """
    name, version = str(manifest["name"]), str(manifest["version"])
    service = {"type": "application", "bom-ref": f"{name}@{version}", "name": name, "version": version}
    models = [manifest, manifest["challenger"]] if "challenger" in manifest else [manifest]
    components = [*(_describe_model(name, one) for one in models), *(_describe_package(one) for one in packages)]
    references = sorted(str(component["bom-ref"]) for component in components)
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": service},
        "components": components,
        "dependencies": [{"ref": service["bom-ref"], "dependsOn": references}],
    }


def _describe_model(name: str, described: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a model as a component."""
    version, model = str(described["version"]), described["model"]
    return {
        "type": "machine-learning-model",
        "bom-ref": f"{name}.onnx@{version}",
        "name": f"{name}.onnx",
        "version": version,
        "hashes": [{"alg": "MD5", "content": model["md5"]}, {"alg": "SHA-256", "content": model["sha256"]}],
    }


def _describe_package(package: Package) -> dict[str, Any]:
    """Describe a library as a component."""
    url = f"pkg:pypi/{package.name}@{package.version}"
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": url,
        "name": package.name,
        "version": package.version,
        "purl": url,
        "hashes": [{"alg": "SHA-256", "content": sha256} for sha256 in package.hashes],
    }
    return component | ({"licenses": [{"expression": package.license}]} if package.license else {})
