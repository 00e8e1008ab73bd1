"""What the gate can say."""

from dataclasses import dataclass, field

PASS, REFUSE, UNCHANGED = "pass", "refuse", "unchanged"


@dataclass(frozen=True)
class Verdict:
    """What the gate decided and why; ``notes`` say what a person should know of a model that passed."""

    outcome: str
    champion: str
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    figures: dict[str, float] = field(default_factory=dict)
