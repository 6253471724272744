"""The help, the comments in the YAML files and the settings reference say the same."""

import re

import pytest
import yaml

from bpexp.config import help, schema
from bpexp.config.options import OPTION_GROUPS, option_names
from bpexp.config.paths import conf_dir
from bpexp.fields import settings_of

GROUPS = [(group, name) for group in OPTION_GROUPS for name in option_names(group)]


def settings_in(path):
    """Key, value as it is written and comment of each setting in a YAML file, with dots."""
    group = ""
    for line in (conf_dir() / path).read_text().splitlines():
        if re.match(r"\w+:", line):
            group = ""
        found = re.fullmatch(r"( *)(\w+):(?: (\S+))? *(?:# (.*))?", line)
        if found and found[3] is None:
            group = f"{found[2]}."
        elif found:
            yield group + found[2], found[3], found[4]


def check_comments(path, prefix, declared):
    commented = {key: comment for key, _, comment in settings_in(path)}
    for key, description in declared.items():
        assert commented[key] == description, prefix + key


def test_the_main_file_describes_every_setting_as_the_schema_does():
    declared = {
        s.name: s.description
        for config in (schema.TrainConfig, schema.RuntimeConfig)
        for s in settings_of(config)
    }
    for group in ("stop", "objective", "search", "seeds", "tracking"):
        parts = settings_of(schema.FIXED_GROUPS[group])
        declared |= {f"{group}.{s.name}": s.description for s in parts}
    check_comments("config.yaml", "", declared)


@pytest.mark.parametrize(("group", "name"), GROUPS)
def test_the_file_of_an_option_describes_every_setting_as_the_schema_does(group, name):
    path = f"{group}/{name}.yaml"
    values = yaml.safe_load((conf_dir() / path).read_text())
    config = schema.configs_of(group)[name if group in schema.NAMED_GROUPS else ""]
    declared = {s.name: s.description for s in settings_of(config) if s.name != "name"}
    if name == "proben1":
        # Its files define the split.
        split = ("test_fraction", "validation_fraction", "split_seed", "stratify", "folds", "fold")
        for key in split:
            del declared[key]
    assert declared.keys() == values.keys() - {"name"}
    check_comments(path, f"{group}.", declared)
    assert (conf_dir() / path).read_text().startswith("# ")


def test_every_registered_option_has_a_file():
    for group, options in schema.NAMED_GROUPS.items():
        assert set(options) == set(option_names(group))


def shown(*overrides):
    """The help as one line, so that wrapped texts can be searched."""
    return " ".join(help.help_text(overrides).split())


@pytest.mark.parametrize(("group", "name"), GROUPS)
def test_the_help_has_key_default_meaning_and_allowed_values(group, name):
    text = shown(f"{group}={name}")
    values = yaml.safe_load((conf_dir() / group / f"{name}.yaml").read_text())
    config = schema.configs_of(group)[name if group in schema.NAMED_GROUPS else ""]
    for s in settings_of(config):
        if s.name in values and s.name != "name":
            assert f" {group}.{s.name}=" in text
            assert f"{s.description} ({s.rule.describe()})" in text


def test_the_help_fits_into_80_columns():
    for group, name in GROUPS:
        lines = help.help_text([f"{group}={name}"]).splitlines()
        assert max(map(len, lines)) <= 80


def test_the_reference_has_every_key_with_its_meaning_and_allowed_values():
    lines = help.settings_reference().splitlines()
    documented = {line.split("`")[1] for line in lines if line.startswith("| `")}
    names = {f"{group}.name" for group in schema.NAMED_GROUPS}
    assert documented == set(schema.keys()) - names - {*schema.NAMED_GROUPS, *schema.FIXED_GROUPS}
    for group, name in GROUPS:
        config = schema.configs_of(group)[name if group in schema.NAMED_GROUPS else ""]
        for s in settings_of(config):
            end = f" | {s.description} | {s.rule.describe()} |"
            found = [r for r in lines if r.startswith(f"| `{group}.{s.name}`") and r.endswith(end)]
            assert found or s.name == "name"
