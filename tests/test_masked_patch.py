"""The stored changes of a checkout apply to a clean one, although their passwords are masked."""

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpexp.guards import passwords
from bpexp.runs import environment, masked_patch

SECRET = "s3cr3t"


def git(folder, *arguments, check=True):
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, check=check, capture_output=True)


class Checkout:
    """A repository, and a clean copy of its only commit."""

    def __init__(self, folder, files):
        self.folder, self.copy = folder / "changed", folder / "clean"
        self.folder.mkdir()
        git(self.folder, "init", "-q")
        self.write(files)
        git(self.folder, "add", "-A")
        git(self.folder, "commit", "-qm", "first")
        git(folder, "clone", "-q", self.folder, self.copy)

    def write(self, files):
        for name, content in files.items():
            file = self.folder / name
            file.write_bytes(content if isinstance(content, bytes) else content.encode())

    def applied(self):
        """Apply the stored changes to the copy; return them, and the file contents there."""
        git(self.folder, "add", "--intent-to-add", ".")
        patch = environment.artifacts()["git.diff"]
        assert SECRET.encode() not in patch
        if b"\ndiff --git " in b"\n" + patch:
            (self.copy.parent / "git.diff").write_bytes(patch)
            git(self.copy, "apply", self.copy.parent / "git.diff")
        kept = [file for file in self.copy.iterdir() if file.is_file()]
        return patch.decode("latin-1"), {file.name: file.read_bytes().decode() for file in kept}


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    def make(files):
        made = Checkout(tmp_path, files)
        monkeypatch.setattr(environment, "__file__", str(made.folder / "module.py"))
        forget()
        return made

    yield make
    forget()


def forget():
    for cached in (environment.tags, environment.repository, environment.repository_filters):
        cached.cache_clear()


LINES = "".join(f"line {n}\n" for n in range(9))
URI = f"uri: postgresql://me:{SECRET}@host/db\n"


@pytest.mark.parametrize("line", [URI[:-1], f"password = {SECRET}\r", f"export TOKEN={SECRET}"])
def test_an_added_password_is_masked_in_its_place(checkout, line):
    made = checkout({"run.yaml": LINES})
    made.write({"run.yaml": f"{LINES}{line}\nlr: 1\n"})
    patch, files = made.applied()
    assert not patch.startswith("#")
    assert files["run.yaml"] == f"{LINES}{passwords.mask_line(line, is_code=False)}\nlr: 1\n"
    assert "***" in files["run.yaml"]
    assert files["run.yaml"].count("\r") == line.count("\r")


@pytest.mark.parametrize(("before", "after"), [(URI, ""), ("", "n: 1\n" + URI)])
def test_an_unchanged_password_beside_a_change_is_no_part_of_the_patch(checkout, before, after):
    made = checkout({"run.yaml": LINES + before + "lr: 1\n" + after + LINES})
    made.write({"run.yaml": LINES + before + "lr: 2\n" + after + LINES})
    patch, files = made.applied()
    assert not patch.startswith("#")
    assert files["run.yaml"] == LINES + before + "lr: 2\n" + after + LINES


def test_hunks_that_cannot_be_applied_without_the_password_are_shown_in_a_comment(checkout):
    """A removed password, and one right after a change; other hunks keep their places."""
    old = URI + LINES * 3 + "a: 1\n" + URI + LINES * 3 + "b: 1\n" + LINES * 3
    made = checkout({"run.yaml": old, "other.txt": "one\n", "gone.ini": f"password={SECRET}\n"})
    made.write({"other.txt": "two\n", "run.yaml": old.replace(URI, "n: 1\nm: 1\n", 1)
                .replace("a: 1", "a: 2").replace("b: 1", "b: 2")})  # fmt: skip
    (made.folder / "gone.ini").unlink()
    patch, files = made.applied()
    comment, _, rest = patch.partition("\n\n")
    assert all(line.startswith("# ") for line in comment.split("\n"))
    assert "# -uri: postgresql://me:***@host/db\n# +n: 1\n# +m: 1\n" in comment
    assert "# -a: 1\n# +a: 2\n#  uri: postgresql://me:***@host/db\n" in comment
    assert "# --- a/gone.ini\n# +++ /dev/null\n# @@ -1,1 +0,0 @@\n# -password=***" in comment
    assert rest.startswith("diff --git ")
    assert files == {
        "run.yaml": old.replace("b: 1", "b: 2"), "other.txt": "two\n",
        "gone.ini": f"password={SECRET}\n",
    }  # fmt: skip


def test_a_renamed_file_is_renamed_although_its_changes_are_left_out(checkout):
    made = checkout({"old.yaml": LINES * 3 + URI})
    git(made.folder, "mv", "old.yaml", "new.yaml")
    made.write({"new.yaml": LINES * 3 + "uri: none\n"})
    patch, files = made.applied()
    assert patch.startswith("# ")
    assert files == {"new.yaml": LINES * 3 + URI}


def test_a_private_key_is_masked(checkout):
    def key(secret):
        first, last = (f"-----{word} RSA PRIVATE KEY-----\n" for word in ("BEGIN", "END"))
        return f"{first}{secret}\nMIIE\n{secret}\n{last}"

    made = checkout({"old.pem": LINES + key("MIIF") + LINES})
    made.write({
        "old.pem": LINES + key(SECRET) + LINES, "new.pem": key(SECRET) + "after\n",
        "key.bin": b"\0" + key(SECRET).encode(),
    })  # fmt: skip
    patch, files = made.applied()
    assert "MIIF" not in patch
    assert files["old.pem"] == LINES + key("MIIF") + LINES
    assert files["new.pem"] == key("***").replace("MIIE", "***") + "after\n"
    assert "key.bin" not in files


@pytest.mark.parametrize("word", ["RSA PRIVATE KEY", "PGP PRIVATE KEY BLOCK"])
@pytest.mark.parametrize("name", ["key.pem", '\u00e4 "key".py'])
def test_a_change_in_the_middle_of_a_private_key_is_masked(checkout, word, name):
    """The patch shows neither where the key begins nor where it ends, but its heading does."""
    body = [f"k3y{n}s" for n in range(40)]
    key = [f"-----BEGIN {word}-----", *body, f"-----END {word}-----"]
    lines = [f"line {n}" for n in range(20)]
    text = "\n".join([*lines, *key, *lines, ""])
    made = checkout({name: text})
    made.write({name: text.replace("k3y20s", SECRET).replace("k3y22s\n", "").replace("19", "18")})
    patch, files = made.applied()
    assert "k3y" not in patch
    assert " line 18\n-line 19\n+line 18\n" in patch
    assert files[name].count("line 18") == 4
    assert "k3y20s" in files[name]


def test_a_key_whose_beginning_is_not_known_is_found_by_the_form_of_its_lines(checkout):
    """In a file that is not in the commit, and in a message."""
    line = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj"
    assert passwords.mask_text(f"bad key:\n{line}\nMzEfYyjiWA4=\nend") == "bad key:\n***\n***\nend"
    certificate = ["-----BEGIN CERTIFICATE-----", line, "-----END CERTIFICATE-----"]
    assert list(passwords.mask_lines(certificate, is_code=False)) == certificate
    digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    assert passwords.mask_text(digest) == digest


def test_a_binary_file_with_a_password_is_left_out(checkout):
    data = bytes(range(256)) * 9
    made = checkout({"a.bin": data, "b.bin": data, "c.bin": data})
    made.write({
        "a.bin": data[:-9], "b.bin": data + URI.encode(),
        "c.bin": data + f"password='{SECRET}'".encode("utf-16"),
    })  # fmt: skip
    patch = masked_patch.without_passwords(environment.git_diff()).decode()
    comment, _, rest = patch.partition("\n\n")
    assert comment.endswith("# Binary files a/b.bin b/b.bin differ\n"
                            "# Binary files a/c.bin b/c.bin differ")  # fmt: skip
    assert rest.count("diff --git") == 1
    (made.copy.parent / "git.diff").write_text(patch)
    git(made.copy, "apply", made.copy.parent / "git.diff")
    assert (made.copy / "a.bin").read_bytes() == data[:-9]
    assert (made.copy / "b.bin").read_bytes() == (made.copy / "c.bin").read_bytes() == data


def test_files_with_long_lines_and_odd_characters_are_kept(checkout):
    """Such as notebooks with pictures; searching a line must not take the square of its length."""
    made = checkout({"book.ipynb": "one\n"})
    content = f"{'a' * 100_000}\n{'x://y: ' * 5_000}\n{'tokentoken=' * 5_000}\x0c\x85\x1c\rb\n"
    made.write({"book.ipynb": content.encode("latin-1")})
    patch = environment.git_diff()
    assert masked_patch.without_passwords(patch) == patch


lines = st.lists(
    st.sampled_from(["a", "b", "c", f"password={SECRET}", f"password={SECRET}2"]), max_size=12
)


@given(old=lines, new=lines)
@settings(max_examples=20)
def test_a_masked_patch_applies(tmp_path_factory, old, new):
    folder = tmp_path_factory.mktemp("patch")
    for name, content in (("old", old), ("new", new)):
        (folder / name).write_text("".join(f"{line}\n" for line in content))
    diff = git(folder, "diff", "--no-index", "old", "new", check=False).stdout
    diff = diff.replace(b"b/new", b"b/old")
    masked = masked_patch.without_passwords(diff)
    assert SECRET.encode() not in masked
    (folder / "git.diff").write_bytes(masked)
    if b"\ndiff --git " in b"\n" + masked:
        git(folder, "apply", "git.diff")
    if not masked.startswith(b"#"):
        # Added passwords are masked, those that were there before are still there.
        for name in ("old", "new"):
            text = (folder / name).read_text().replace(f"{SECRET}2", "***")
            (folder / name).write_text(text.replace(SECRET, "***"))
        assert (folder / "old").read_text() == (folder / "new").read_text()
