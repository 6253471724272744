"""How a setting is declared: a rule that its value must obey, a default and a description.

>>> from dataclasses import dataclass
>>> from bpexp.fields import setting, settings_of
>>> from bpexp.fields.checks import Real
>>> @dataclass(frozen=True, kw_only=True)
... class Momentum:
...     momentum: float = setting(Real(0.0, below=1.0), 0.9, "share of the last step")
>>> declared, = settings_of(Momentum)
>>> declared.name, declared.default, declared.rule.describe()
('momentum', 0.9, 'a finite number of at least 0 and below 1')
"""

from bpexp.fields.registry import Registry
from bpexp.fields.settings import REQUIRED, Setting, setting, settings_of

__all__ = ["REQUIRED", "Registry", "Setting", "setting", "settings_of"]
