"""Versions and aliases of functions, with what AWS refuses and moto lets through."""

import copy
import io
import zipfile
import zlib
from typing import Any
from uuid import uuid4

from flask import request
from moto.awslambda.exceptions import (
    InvalidParameterValueException,
    LambdaClientError,
    PreconditionFailedException,
    UnknownFunctionException,
)
from moto.awslambda.models import LambdaAlias, LambdaFunction, LambdaStorage

LATEST = "$LATEST"
MAX_ZIPPED_BYTES, MAX_UNZIPPED_BYTES = 52_428_800, 262_144_000
# What differs between $LATEST and a version that was published from it.
OF_VERSION = {"Description", "FunctionArn", "LastModified", "LastUpdateStatus", "RevisionId", "State", "Version"}


class ConflictError(LambdaClientError):
    """Something is there already, or still needed."""

    code = 409

    def __init__(self, message: str) -> None:
        super().__init__("ResourceConflictException", message)


class ConstraintError(LambdaClientError):
    """A value is outside of what the API's own description allows."""

    def __init__(self, message: str) -> None:
        super().__init__("ValidationException", f"1 validation error detected: {message}")


def read_argument(name: str) -> Any:
    """Read a field of the request's body, since moto does not pass all of them on."""
    content = request.get_json(force=True, silent=True) if request else None
    return content.get(name) if isinstance(content, dict) else None


def check_revision(revision_id: str) -> None:
    """Refuse a change to something that was changed since the caller last read it."""
    if read_argument("RevisionId") not in (None, revision_id):
        raise PreconditionFailedException(
            "The Revision Id provided does not match the latest Revision Id. "
            "Call the GetFunction/GetAlias API to retrieve the latest Revision Id"
        )


def check_code(content: bytes) -> None:
    """Refuse a zip file that cannot be unpacked, or is too large."""
    if len(content) > MAX_ZIPPED_BYTES:
        raise InvalidParameterValueException(f"Zipped size must be smaller than {MAX_ZIPPED_BYTES} bytes")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
            broken = not archive.namelist() or archive.testzip()
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError):
        size, broken = 0, True
    if broken:
        raise InvalidParameterValueException(
            "Could not unzip uploaded file. Please check your file, then try to upload again."
        )
    if size > MAX_UNZIPPED_BYTES:
        raise InvalidParameterValueException(f"Unzipped size must be smaller than {MAX_UNZIPPED_BYTES} bytes")


# Nothing here is made from CloudFormation.
class Function(LambdaFunction):  # pylint: disable=abstract-method
    """A function, or a version of it, with a revision that changes with every change."""

    def __init__(self, account_id: str, spec: dict[str, Any], region: str, version: str | int = 1) -> None:
        self.revision_id = str(uuid4())
        # $LATEST as it was when a version was last published from it.
        self.published: dict[str, Any] | None = None
        self.count = 0
        super().__init__(account_id, spec, region, version)
        check_code(self.code_bytes)

    def get_configuration(self, on_create: bool = False) -> dict[str, Any]:
        """Describe it."""
        return {**super().get_configuration(on_create), "RevisionId": self.revision_id}

    def set_version(self, version: int) -> None:
        """Make it a version."""
        super().set_version(version)
        self.revision_id = str(uuid4())

    def update_configuration(self, config_updates: dict[str, Any]) -> dict[str, Any]:
        """Change its configuration."""
        check_revision(self.revision_id)
        self.revision_id = str(uuid4())
        return super().update_configuration(config_updates)

    def update_function_code(self, updated_spec: dict[str, Any]) -> dict[str, Any]:
        """Change its code, unless what comes is no zip file."""
        check_revision(self.revision_id)
        before = (self.code_bytes, self.code_size, self.code_sha_256, self.code_digest)
        super().update_function_code(updated_spec)
        try:
            check_code(self.code_bytes)
        except LambdaClientError:
            self.code_bytes, self.code_size, self.code_sha_256, self.code_digest = before
            raise
        self.revision_id = str(uuid4())
        return self.get_configuration()

    def describe_content(self) -> dict[str, Any]:
        """Describe what a version published now would hold."""
        described = self.get_configuration()
        return copy.deepcopy({key: value for key, value in described.items() if key not in OF_VERSION})


class Versions(LambdaStorage):
    """Functions, their versions and their aliases."""

    def publish_version(self, name_or_arn: str, description: str = "") -> LambdaFunction | None:
        """Publish $LATEST, or give the newest version if nothing has changed since."""
        latest = self.get_function_by_name_or_arn_forbid_qualifier(name_or_arn)
        assert isinstance(latest, Function)
        check_revision(latest.revision_id)
        expected = read_argument("CodeSha256")
        if expected not in (None, "", latest.code_sha_256):
            raise InvalidParameterValueException(
                f"CodeSHA256 ({expected}) is different from current CodeSHA256 in $LATEST ({latest.code_sha_256}). "
                "Please try again with the CodeSHA256 in $LATEST."
            )
        return self.publish(name_or_arn, description)

    def publish(self, name_or_arn: str, description: str = "") -> Function:
        """Publish $LATEST, whatever revision and hash the request names."""
        latest = self.get_function_by_name_or_arn_forbid_qualifier(name_or_arn)
        assert isinstance(latest, Function)
        versions = self._functions[latest.function_name]["versions"]
        if versions and latest.published == latest.describe_content():
            return versions[-1]
        latest.published = latest.describe_content()
        # Numbers are not given again, even after versions were deleted.
        latest.count += 1
        version = copy.copy(latest)
        version.set_version(latest.count)
        version.description = description or latest.description
        versions.append(version)
        self._arns[version.function_arn] = version
        return version

    def del_function(self, name_or_arn: str, qualifier: str | None = None) -> None:
        """Delete a function, or a version that no alias points to."""
        if qualifier:
            named = [alias for alias in self.list_aliases(name_or_arn) if qualifier in list_versions(alias)]
            if named:
                raise ConflictError(
                    "Unable to delete version because the following aliases reference it: "
                    f"[{', '.join(alias.name for alias in named)}]"
                )
        super().del_function(name_or_arn, qualifier)

    def put_alias(
        self, name: str, function_name: str, function_version: str, description: str, routing_config: Any
    ) -> LambdaAlias:
        """Create an alias."""
        self._check_routing(function_name, function_version, routing_config)
        known = {alias.name: alias for alias in self.list_aliases(function_name)}
        if name in known:
            raise ConflictError(f"Alias already exists: {known[name].arn}")
        return super().put_alias(name, function_name, function_version, description, routing_config)

    def update_alias(
        self, name: str, function_name: str, function_version: str, description: str, routing_config: Any
    ) -> LambdaAlias:
        """Change what is given of an alias."""
        alias = self.get_alias(name, function_name)
        check_revision(alias.revision_id)
        version = function_version or alias.function_version
        routing = alias.routing_config if routing_config is None else routing_config
        self._check_routing(function_name, version, routing)
        if not read_weights(routing):
            routing = {}
        alias.update(description, version, routing)
        alias.revision_id = str(uuid4())
        return alias

    def _check_routing(self, function_name: str, version: str, routing: Any) -> None:
        """Refuse weights that AWS refuses."""
        self._check_version(function_name, version)
        weights = read_weights(routing)
        if len(weights) > 1:
            raise InvalidParameterValueException(
                "Number of items in AdditionalVersionWeights cannot be greater than 1"
            )
        for other, weight in weights.items():
            given = f"Value '{{{other}={weight}}}' at 'routingConfig.additionalVersionWeights'"
            if not 0 <= weight <= 1:
                raise ConstraintError(
                    f"{given} failed to satisfy constraint: Map value must satisfy constraint: "
                    "[Member must have value less than or equal to 1.0, "
                    "Member must have value greater than or equal to 0.0, Member must not be null]"
                )
            if other == version:
                raise InvalidParameterValueException(
                    f"Invalid function version {version}. Function version {version} is already included in routing "
                    "configuration."
                )
            if version == LATEST:
                raise InvalidParameterValueException(
                    "$LATEST is not supported for an alias pointing to more than 1 version"
                )
            if not other.isdecimal():
                raise ConstraintError(
                    f"{given} failed to satisfy constraint: Map keys must satisfy constraint: "
                    "[Member must satisfy regular expression pattern: [0-9]+, Member must not be null]"
                )
            self._check_version(function_name, other)

    def _check_version(self, function_name: str, version: str) -> None:
        """Refuse what is no version of a function."""
        latest = self.get_function_by_name_or_arn_with_qualifier(function_name)
        if version != LATEST and not self._get_version(latest.function_name, version):
            raise UnknownFunctionException(f"{latest.function_arn}:{version}")


def read_weights(routing: Any) -> dict[str, float]:
    """Read the weights of the additional versions from an alias's routing."""
    return (routing or {}).get("AdditionalVersionWeights") or {}


def list_versions(alias: LambdaAlias) -> set[str]:
    """List the versions that an alias points to."""
    return {alias.function_version, *read_weights(alias.routing_config)}
