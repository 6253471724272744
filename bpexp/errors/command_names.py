"""The names of the commands, apart from their modules, which take long to import."""

COMMANDS = (
    "ui",
    "runs",
    "show",
    "compare",
    "explain",
    "export",
    "predict",
    "reproduce",
    "resume",
    "extend",
    "report",
    "verify",
    "bundle",
    "relocate",
)
