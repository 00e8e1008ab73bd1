"""The workflows' commands in the loop, each told as it runs, and held against the workflow that it stands in."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rehearsal import github
from rehearsal.life.callers import Callers
from rehearsal.life.months import Months
from rehearsal.life.turns import Turn
from rehearsal.rehearse import World
from rehearsal.remote import Remote

# Also where a workflow plays the loop, its commands are no steps of that workflow.
NO_STEP = {"GITHUB_OUTPUT": "", "GITHUB_STEP_SUMMARY": ""}
# Where commands stand.
DEPLOYING, MONITORING, RETRAINING = "deploy.yml", "monitor.yml", "retrain.yml"


@dataclass
class Loop:
    """What the phases share: the cloud's world, the remote repository, its GitHub, the months and the callers."""

    world: World
    remote: Remote
    github: github.Repository
    # With which gh finds that GitHub.
    spoken: dict[str, str]
    months: Months
    callers: Callers
    turns: list[Turn] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        """Where the commands run."""
        return self.world.repository.folder

    def call(self, where: str, *command: str, keys: str = "", **environment: str) -> str:
        """Run a Python module that must succeed, and say so.

        Parameters
        ----------
        where : str
            The workflow that the command stands in.
        *command : str
        keys : str
            The role whose keys it gets; by default none.
        **environment : str

        Returns
        -------
        str
            What it printed.
        """
        taken = self.world.environment.take_keys(keys) if keys else {}
        given = {**NO_STEP, **self.spoken, **taken, **environment}
        said = self.world.repository.must_run(*command, **given)
        self.note(where, *command)
        return said

    def note(self, where: str, *command: str) -> None:
        """Say which command ran, and hold it against the workflow's."""
        self.world.timeline.say(f"{where}: python -m {' '.join(command)}")
        self.expect(stands_in(self.folder, where, command), f"{where} knows no such command")

    def say(self, text: str) -> None:
        """Say what came of the last command."""
        self.world.timeline.say(text, follows=True)

    def expect(self, holds: object, what: str) -> None:
        """Note what does not hold."""
        self.world.timeline.expect(holds, what)


def stands_in(folder: Path, where: str, command: Sequence[str]) -> bool:
    """Tell whether a workflow, its own action or a make target calls a module by its name and first argument."""
    paths = [folder / "Makefile", folder / ".github/workflows" / where, folder / ".github/actions/deploy/action.yml"]
    words = " ".join(word for word in command[:2] if not word.startswith("-"))
    return any(words in path.read_text(encoding="utf-8") for path in paths)
