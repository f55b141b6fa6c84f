"""Revisions of scratch repositories: what people type for them, and what models cost in them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from repositories import ENVIRONMENT, TINY, Scratch, job, linear_graph, net

from archlab.errors import UsageError
from archlab.guard.history import counted
from archlab.guard.revisions import Range, Repository, is_range, no_range, range_of
from archlab.guard.runs import Failure, Outcome
from archlab.guard.worker import loaded, redirect_editables


@pytest.fixture(autouse=True)
def _git(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    return Scratch(tmp_path / "pro ject")


@pytest.fixture
def repository(scratch: Scratch) -> Repository:
    return Repository.of(scratch.folder)


def macs(outcome: Outcome) -> int:
    assert not isinstance(outcome, Failure), outcome
    count: int = outcome["total"]["macs"]
    return count


def count(repository: Repository, *revisions: str, jobs: list[dict[str, Any]] | None = None) -> list[Outcome]:
    """Return what the first job costs in each revision."""
    jobs = jobs or [job("net.json")]
    found = counted(repository, {repository.resolve(text): jobs for text in revisions})
    return [found[repository.resolve(text)][jobs[0]["name"]] for text in revisions]


def failed(outcome: Outcome) -> Failure:
    assert isinstance(outcome, Failure)
    return outcome


def left(repository: Repository) -> list[str]:
    """Return what is left of worktrees: folders, locks, and what git knows of them."""
    place = repository.common / "archlab" / "worktrees"
    known = repository.git("worktree", "list", "--porcelain").count("worktree ") - 1
    return [*(path.name for path in place.glob("*")), *["known to git"] * known]


# What people type


def test_a_revision_has_its_commit_its_files_and_its_first_line(scratch: Scratch, repository: Repository) -> None:
    commit = scratch.commit("Widen the net\n\nbecause", {"a b/ü.txt": "x"})
    scratch.git("tag", "v1")
    for text in ("HEAD", "main", "v1", commit, commit[:7], "HEAD~0", ":/Widen"):
        found = repository.resolve(text)
        assert (found.text, found.commit, found.subject) == (text, commit, "Widen the net")
        assert found.tree == scratch.git("rev-parse", "HEAD^{tree}")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("mian", "; did you mean 'main'?"),
        ("v1.0", "; did you mean 'v1.0.0'?"),
        ("topic", "; did you mean 'origin/topic'?"),
        ("--all", ""),
        ("", ""),
        ("HEAD~5", ""),
        ("main..HEAD", ""),
        ("HEAD^{tree}", ""),
    ],
)
def test_an_unknown_revision_is_said_with_the_nearest_name(
    scratch: Scratch, repository: Repository, text: str, hint: str
) -> None:
    scratch.commit("First", {"a": ""})
    scratch.git("tag", "v1.0.0")
    scratch.git("update-ref", "refs/remotes/origin/topic", "HEAD")
    with pytest.raises(UsageError) as said:
        repository.resolve(text)
    if hint:
        assert str(said.value) == f"{text!r} is no revision of pro ject{hint}"
    assert str(said.value).startswith(f"{text!r} is no revision of pro ject")


def test_a_repository_without_a_commit_says_so(repository: Repository) -> None:
    with pytest.raises(UsageError, match=r"^'HEAD' is no revision of pro ject; it has no commit yet$"):
        repository.resolve("HEAD")


def test_a_folder_that_lies_in_no_repository_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    (tmp_path / "plain").mkdir()
    with pytest.raises(UsageError, match="plain: not a git repository"):
        Repository.of(tmp_path / "plain")


def test_without_git_the_error_says_so(scratch: Scratch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(scratch.folder))
    with pytest.raises(UsageError, match="git is not installed"):
        Repository.of(scratch.folder)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("main..HEAD", Range("main", "HEAD")),
        ("main..", Range("main", "HEAD")),
        ("..main", Range("HEAD", "main")),
        ("v1...topic", Range("v1", "topic", True)),
        ("origin/main..HEAD", Range("origin/main", "HEAD")),
        ("v1.2..v1.3", Range("v1.2", "v1.3")),
    ],
)
def test_a_range_has_two_ends_and_an_empty_one_is_head(text: str, parts: Range) -> None:
    assert range_of(text) == parts


@pytest.mark.parametrize("text", ["main", "..", "...", "a..b..c", "a....b", ""])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no range of revisions; write OLD"):
        range_of(text)


def test_a_text_with_a_path_separator_is_no_range_and_the_error_says_how_to_write_it(tmp_path: Path) -> None:
    assert is_range("main..HEAD")
    assert is_range("main...")
    assert not any(map(is_range, ["origin/main..HEAD", "../net.py:Net", "..", "...", r"..\net.json", "googlenet"]))
    assert no_range("origin/main..HEAD") == (
        "origin/main..HEAD: a range has no path separator; write its ends as two: archlab diff origin/main HEAD"
    )
    (tmp_path / "a..b").write_text("")
    assert not any(map(no_range, ["main..HEAD", "../net.py:Net", "../../x.json", str(tmp_path / "a..b"), "naive"]))


def test_three_dots_compare_with_where_the_branches_parted(scratch: Scratch, repository: Repository) -> None:
    base = scratch.commit("Base", {"a": "1"})
    scratch.git("checkout", "--quiet", "-b", "topic")
    topic = scratch.commit("Topic", {"a": "2"})
    scratch.git("checkout", "--quiet", "main")
    main = scratch.commit("Main", {"a": "3"})
    assert [end.commit for end in repository.ends("main..topic")] == [main, topic]
    assert [end.commit for end in repository.ends("main...topic")] == [base, topic]


def test_the_commits_of_a_range_follow_first_parents_oldest_first(scratch: Scratch, repository: Repository) -> None:
    scratch.commit("Good", {"a": "1"})
    scratch.git("tag", "good")
    scratch.git("checkout", "--quiet", "-b", "topic")
    scratch.commit("On the branch", {"b": "1"})
    scratch.git("checkout", "--quiet", "main")
    scratch.commit("On main", {"a": "2"})
    scratch.git("merge", "--quiet", "--no-ff", "-m", "Merged", "topic")
    scratch.commit("Last\tof all", {"a": "3"})
    good, head = repository.resolve("good"), repository.resolve("HEAD")
    assert [found.subject for found in repository.between(good, head)] == ["On main", "Merged", "Last\tof all"]
    assert repository.between(head, head) == []


def test_a_good_end_that_is_no_ancestor_is_an_error(scratch: Scratch, repository: Repository) -> None:
    scratch.commit("First", {"a": "1"})
    scratch.commit("Second", {"a": "2"})
    good, bad = repository.resolve("HEAD"), repository.resolve("HEAD~1")
    with pytest.raises(
        UsageError, match=r"HEAD \(.*\) is no ancestor of HEAD~1 \(.*\); try HEAD...HEAD~1, from where"
    ):
        repository.between(good, bad)


def test_a_shallow_clone_is_named_as_the_cause(scratch: Scratch, tmp_path: Path) -> None:
    scratch.commit("First", {"a": "1"})
    scratch.commit("Second", {"a": "2"})
    scratch.git("clone", "--quiet", "--depth=1", f"file://{scratch.folder}", str(tmp_path / "shallow"))
    with pytest.raises(UsageError, match="is no revision of shallow; this clone is shallow: git fetch --unshallow"):
        Repository.of(tmp_path / "shallow").resolve("HEAD~1")


def test_a_file_of_a_revision_is_read_from_the_projects_folder(scratch: Scratch) -> None:
    scratch.commit("First", {"sub/archlab.toml": "old\n"})
    scratch.commit("Second", {"sub/archlab.toml": "new\n"})
    repository = Repository.of(scratch.folder / "sub")
    assert repository.show(repository.resolve("HEAD~1"), "archlab.toml") == "old\n"
    assert repository.show(repository.resolve("HEAD"), "other.toml") is None


def test_a_hooks_environment_does_not_lead_to_another_index(
    scratch: Scratch, repository: Repository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    scratch.commit("First", {"net.json": linear_graph(4)})
    other = Scratch(tmp_path / "other")
    for name in ("GIT_DIR", "GIT_INDEX_FILE"):
        place = other.folder / ".git"
        monkeypatch.setenv(name, str(place / "index" if name == "GIT_INDEX_FILE" else place))
    assert macs(*count(repository, "HEAD")) == 8 * 4
    assert not (other.folder / ".git" / "index").exists()


# What models cost in them


def test_two_revisions_are_counted_as_they_were(scratch: Scratch, repository: Repository) -> None:
    scratch.commit("Narrow", {"net.json": linear_graph(16)})
    scratch.commit("Wide", {"net.json": linear_graph(32)})
    scratch.write({"net.json": linear_graph(64)})
    assert [*map(macs, count(repository, "HEAD~1", "HEAD"))] == [8 * 16, 8 * 32]
    assert left(repository) == []
    assert scratch.git("status", "--porcelain") == "M net.json"


def test_modules_are_those_of_the_revision_and_what_they_print_is_no_result(
    scratch: Scratch, repository: Repository
) -> None:
    scratch.commit("Narrow", {"pack/__init__.py": "", "pack/net.py": net(16)})
    scratch.commit("Wide", {"pack/net.py": net(32)})
    scratch.write({"pack/net.py": net(64)})
    jobs = [job("pack.net:Net", inputs=["1x8"]), job("pack/net.py:Net", "file", inputs=["1x8"])]
    wanted = {repository.resolve(text): jobs for text in ("HEAD~1", "HEAD")}
    found = counted(repository, wanted)
    assert [macs(found[r][j["name"]]) for r in wanted for j in jobs] == [8 * 16, 8 * 16, 8 * 32, 8 * 32]


def test_an_editable_install_of_a_src_layout_gives_way_to_the_revision(
    scratch: Scratch, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path of the parent, which a .pth file has set, leads to the checkout."""
    scratch.commit("First", {**TINY, "src/pack/net.py": "macs = 1", "python/other/net.py": "macs = 2"})
    scratch.write({"src/pack/net.py": "macs = 3", "python/other/net.py": "macs = 4"})
    monkeypatch.setattr(sys, "path", [*sys.path, str(scratch.folder / "src"), str(scratch.folder / "python")])
    jobs = [job("pack.net:macs"), job("other.net:macs", "other")]
    head = repository.resolve("HEAD")
    found = counted(repository, {head: jobs})[head]
    assert (macs(found["net"]), macs(found["other"])) == (1, 2)


def test_an_environment_that_lies_untracked_in_the_checkout_is_used_as_it_is(
    scratch: Scratch, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as .venv, which no revision has."""
    scratch.commit("First", {**TINY, ".gitignore": ".venv\n", "net.py": "from widths import width\n"})
    scratch.write({".venv/lib/widths.py": "width = 16\n"})
    monkeypatch.setattr(sys, "path", [*sys.path, str(scratch.folder / ".venv" / "lib")])
    assert macs(*count(repository, "HEAD", jobs=[job("net.py:width")])) == 16


def test_code_of_the_checkout_is_refused_with_the_module_named(
    scratch: Scratch, repository: Repository, tmp_path: Path
) -> None:
    """Whatever leads there: here the model itself puts the checkout first."""
    path = f"import sys\nsys.path.insert(0, {str(scratch.folder / 'lib')!r})\nfrom widths import width\n"
    scratch.commit("Sly", {**TINY, "net.py": path, "lib/widths.py": "width = 16\n"})
    said = failed(*count(repository, "HEAD", jobs=[job("net.py:width")]))
    assert said.code == 3
    assert said.message.startswith("widths was imported from lib/widths.py of the checkout, not of the revision")
    assert left(repository) == []


def test_a_copy_of_the_project_that_is_installed_is_refused(
    scratch: Scratch, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would win where the path does not lead to the revision's own: here a package in a folder of another name."""
    place = tmp_path / "site-packages"
    (place / "pack").mkdir(parents=True)
    (place / "pack" / "net.py").write_text("macs = 2")
    info = place / "pack-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pack\nVersion: 1.0\n")
    (info / "RECORD").write_text("pack/net.py,,\n")
    (info / "direct_url.json").write_text(json.dumps({"url": scratch.folder.as_uri(), "dir_info": {}}))
    monkeypatch.setattr(sys, "path", [*sys.path, str(place)])
    scratch.commit("First", {**TINY, "python/pack/net.py": "macs = 1"})
    said = failed(*count(repository, "HEAD", jobs=[job("pack.net:macs")]))
    assert said.message.startswith("pack.net was imported from a copy of the project that is installed")


def test_import_hooks_of_editable_installs_lead_to_the_worktree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As setuptools writes them where packages are not in a folder of their own."""
    root, worktree = os.path.realpath(tmp_path / "root"), os.path.realpath(tmp_path / "root/.git/archlab/worktrees/1")
    module = ModuleType("__editable___pack_1_0_finder")
    finder = type("_EditableFinder", (), {"__module__": module.__name__})
    vars(module).update(
        MAPPING={"pack": f"{root}/python/pack", "other": "/elsewhere/other"}, NAMESPACES={"space": [f"{root}/space"]}
    )
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, finder])
    redirect_editables(root, worktree)
    assert vars(module)["MAPPING"] == {"pack": f"{worktree}/python/pack", "other": "/elsewhere/other"}
    assert vars(module)["NAMESPACES"] == {"space": [f"{worktree}/space"]}
    module.__file__ = f"{root}/.venv/finder.py"
    assert module.__name__ not in dict(loaded())


FINDER = """
import sys
from importlib.machinery import PathFinder

MAPPING = {"pack": PLACE}
NAMESPACES = {}


class _EditableFinder:
    @classmethod
    def find_spec(cls, fullname, _path=None, _target=None):
        import os

        if fullname in MAPPING:
            return PathFinder.find_spec(fullname, [os.path.dirname(MAPPING[fullname])])


sys.meta_path.append(_EditableFinder)
"""


def test_an_editable_install_by_an_import_hook_gives_way_to_the_revision(
    scratch: Scratch, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hook is there when the process starts, as a .pth file would set it."""
    place = tmp_path / "site"
    place.mkdir()
    finder = FINDER.replace("PLACE", repr(str(scratch.folder / "python" / "pack")))
    (place / "__editable___pack_1_0_finder.py").write_text(finder)
    (place / "sitecustomize.py").write_text("import __editable___pack_1_0_finder\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(place), os.environ.get("PYTHONPATH", "")]))
    scratch.commit("First", {**TINY, "python/pack/__init__.py": "", "python/pack/net.py": "macs = 1"})
    scratch.write({"python/pack/net.py": "macs = 2"})
    assert macs(*count(repository, "HEAD", jobs=[job("pack.net:macs")])) == 1


def test_a_revision_that_cannot_be_built_fails_alone(scratch: Scratch, repository: Repository) -> None:
    scratch.commit("Fine", {"net.json": linear_graph(16)})
    scratch.commit("Broken", {"net.json": '{"half'})
    scratch.commit("Gone", {"net.json": None})
    scratch.commit("Fine again", {"net.json": linear_graph(32)})
    first, broken, gone, last = count(repository, "HEAD~3", "HEAD~2", "HEAD~1", "HEAD")
    assert (macs(first), macs(last)) == (8 * 16, 8 * 32)
    assert (failed(broken).code, failed(gone).code) == (3, 3)
    assert failed(gone).message.startswith("net.json: no such file")
    assert left(repository) == []


def test_an_error_is_one_line_with_paths_as_the_project_has_them(scratch: Scratch, repository: Repository) -> None:
    reads = "from pathlib import Path\nPath(__file__).resolve().with_name('data').read_text()\n"
    scratch.commit("Broken", {"net.py": "class Net(:\n", "reads.py": reads})
    jobs = [job("net.py:Net", inputs=["1x8"]), job("reads.py:Net", "reads")]
    head = repository.resolve("HEAD")
    broken, reading = (failed(outcome).message for outcome in counted(repository, {head: jobs})[head].values())
    assert broken.startswith("net.py: fails when it is imported: SyntaxError")
    assert "\n" not in broken
    assert reading.startswith("reads.py: fails when it is imported: FileNotFoundError")
    assert reading.endswith("No such file or directory: 'data'")


def test_a_model_that_exits_or_dies_is_a_failure_and_others_are_counted(
    scratch: Scratch, repository: Repository
) -> None:
    files = {"exits.py": "import sys; sys.exit('enough')", "dies.py": "import os; os.kill(os.getpid(), 9)"}
    scratch.commit("First", {**TINY, **files, "net.py": "macs = 1"})
    jobs = [job("net.py:macs"), *(job(f"{name}.py:macs", name) for name in ("exits", "dies", "net"))]
    jobs[-1] = {**jobs[-1], "name": "late"}
    head = repository.resolve("HEAD")
    found = counted(repository, {head: jobs})[head]
    assert macs(found["net"]) == 1
    assert found["exits"] == Failure("SystemExit: enough", 70)
    assert found["dies"] == found["late"] == Failure("its process was ended by SIGKILL: out of memory?", 70)


def test_untracked_and_ignored_files_of_the_checkout_do_not_leak_in(scratch: Scratch, repository: Repository) -> None:
    scratch.commit("First", {".gitignore": "ignored.json\n"})
    scratch.write({"net.json": linear_graph(4), "ignored.json": linear_graph(4)})
    jobs = [job("net.json"), job("ignored.json", "ignored")]
    head = repository.resolve("HEAD")
    found = counted(repository, {head: jobs})[head]
    assert all("no such file" in failed(outcome).message for outcome in found.values())


def test_a_path_of_the_checkout_means_the_file_of_the_revision(scratch: Scratch, repository: Repository) -> None:
    scratch.commit("First", {"net.json": linear_graph(16)})
    scratch.write({"net.json": linear_graph(64)})
    assert macs(*count(repository, "HEAD", jobs=[job(str(scratch.folder / "net.json"))])) == 8 * 16


def test_a_project_in_a_sub_folder_is_counted_there(scratch: Scratch) -> None:
    scratch.commit("Without", {"README": ""})
    scratch.commit("With", {"sub folder/net.json": linear_graph(16)})
    repository = Repository.of(scratch.folder / "sub folder")
    without, with_it = count(repository, "HEAD~1", "HEAD")
    assert failed(without).message == "it has no folder sub folder"
    assert macs(with_it) == 8 * 16


def test_a_project_that_has_archlab_itself_is_counted_by_its_own(scratch: Scratch, repository: Repository) -> None:
    scratch.commit("Own, and older than most of its options", {**TINY, "net.py": "macs = 42"})
    assert macs(*count(repository, "HEAD", jobs=[job("net.py:macs")])) == 42
    refused = failed(*count(repository, "HEAD", jobs=[job("net.py:macs", convention="fvcore")]))
    assert refused.message == "TypeError: profile() got an unexpected keyword argument 'convention'"


def test_hooks_of_the_repository_do_not_run(scratch: Scratch, repository: Repository, tmp_path: Path) -> None:
    scratch.commit("First", {"net.json": linear_graph(16)})
    hook = repository.common / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch '{tmp_path}/ran'\nexit 1\n")
    hook.chmod(0o755)
    assert macs(*count(repository, "HEAD")) == 8 * 16
    assert not (tmp_path / "ran").exists()


def test_many_at_once_do_not_come_in_each_others_way(scratch: Scratch, repository: Repository) -> None:
    """Has failed: git cannot add a worktree while it adds another."""
    for number in range(12):
        scratch.commit(str(number), {**TINY, "net.py": f"macs = {number}"})
    wanted = {repository.resolve(f"HEAD~{number}"): [job("net.py:macs")] for number in range(12)}
    found = counted(repository, wanted, at_once=12)
    assert [macs(outcomes["net"]) for outcomes in found.values()] == [*reversed(range(12))]


def test_where_git_makes_no_worktree_every_model_says_why(scratch: Scratch, repository: Repository) -> None:
    scratch.commit("First", {"net.json": linear_graph(16)})
    (repository.common / "worktrees").write_text("in the way")
    said = failed(*count(repository, "HEAD"))
    assert said.code == 3
    assert said.message.startswith("its files could not be checked out: ")
    assert "worktrees" in said.message


def test_progress_says_what_runs_and_how_many_are_done(scratch: Scratch, repository: Repository) -> None:
    for width in (1, 2, 3):
        scratch.commit(str(width), {"net.json": linear_graph(width)})
    heard: list[tuple[list[str], int, int]] = []
    revisions = [repository.resolve(text) for text in ("HEAD~2", "HEAD~1", "HEAD")]

    def told(now: Any, done: int, total: int) -> None:
        heard.append(([revision.subject for revision in now], done, total))

    counted(repository, {revision: [job("net.json")] for revision in revisions}, told, at_once=1)
    assert heard == [(["1"], 0, 3), (["2"], 1, 3), (["3"], 2, 3)]


# What is known already


@pytest.fixture
def sabotaged(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let nothing be counted from now on."""
    return lambda: monkeypatch.setattr(sys, "executable", "/nowhere/python")


def test_what_is_known_by_its_files_starts_nothing(
    scratch: Scratch, repository: Repository, sabotaged: Callable[[], None]
) -> None:
    scratch.commit("First", {"net.json": linear_graph(16)})
    scratch.commit("Wide", {"net.json": linear_graph(32)})
    before = count(repository, "HEAD")
    scratch.commit("The same files as before, and another commit", {})
    sabotaged()
    again = counted(repository, {repository.resolve("HEAD"): [job("net.json", "another name")]})
    assert list(again[repository.resolve("HEAD")].values()) == before
    with pytest.raises(FileNotFoundError):
        count(repository, "HEAD~2")
    assert left(repository) == []


def test_revisions_with_the_same_files_are_counted_once(scratch: Scratch, repository: Repository) -> None:
    scratch.commit("First", {"net.json": linear_graph(16)})
    scratch.commit("Wide", {"net.json": linear_graph(32)})
    scratch.commit("Back", {"net.json": linear_graph(16)})
    heard: list[int] = []
    wanted = {repository.resolve(text): [job("net.json")] for text in ("HEAD~2", "HEAD~1", "HEAD")}
    found = counted(repository, wanted, lambda now, done, total: heard.append(total), at_once=1)
    assert heard == [2, 2]
    assert [macs(outcomes["net"]) for outcomes in found.values()] == [8 * 16, 8 * 32, 8 * 16]


def test_a_failure_is_not_kept(scratch: Scratch, repository: Repository, tmp_path: Path) -> None:
    scratch.commit("First", {**TINY, "net.py": f"macs = int(open({str(tmp_path / 'there')!r}).read())\n"})
    jobs = [job("net.py:macs")]
    failed(*count(repository, "HEAD", jobs=jobs))
    (tmp_path / "there").write_text("3")
    assert macs(*count(repository, "HEAD", jobs=jobs)) == 3


FOREIGN = '{"key": {}, "read": [], "profile": {"schema": "archlab.profile/1", "total": {"macs": 1}}}'


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"key": 1}', FOREIGN])
def test_a_damaged_file_is_counted_anew(scratch: Scratch, repository: Repository, text: str) -> None:
    scratch.commit("First", {"net.json": linear_graph(16)})
    before = count(repository, "HEAD")
    (kept,) = (repository.common / "archlab" / "counts").glob("*/*.json")
    whole = kept.read_text()
    kept.write_text(text)
    assert count(repository, "HEAD") == before
    assert kept.read_text() == whole


def test_what_nobody_asked_for_in_a_long_time_is_forgotten(scratch: Scratch, repository: Repository) -> None:
    scratch.commit("First", {"net.json": linear_graph(16)})
    scratch.commit("Second", {"net.json": linear_graph(32)})
    scratch.commit("Third", {"net.json": linear_graph(64)})
    count(repository, "HEAD~2", "HEAD~1")
    long_ago = time.time() - 100 * 24 * 3600
    for kept in (repository.common / "archlab" / "counts").glob("*/*.json"):
        os.utime(kept, (long_ago, long_ago))
    count(repository, "HEAD~1")
    count(repository, "HEAD")
    left = [json.loads(path.read_text())["key"]["tree"] for path in repository.common.glob("archlab/counts/*/*.json")]
    assert sorted(left) == sorted(repository.resolve(text).tree for text in ("HEAD~1", "HEAD"))


def test_another_job_another_environment_and_changed_code_of_others_are_counted_anew(
    scratch: Scratch, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path / "library"
    library.mkdir()
    (library / "widths.py").write_text("width = 16\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(library)])
    scratch.commit("First", {**TINY, "net.py": "from widths import width\ntwice = 2 * width\n"})
    jobs = [job("net.py:width")]
    assert macs(*count(repository, "HEAD", jobs=jobs)) == 16
    (library / "widths.py").write_text("width = 32 # now\n")
    assert macs(*count(repository, "HEAD", jobs=jobs)) == 32
    assert macs(*count(repository, "HEAD", jobs=[job("net.py:twice")])) == 2 * 32
    (library / "other-1.0.dist-info").mkdir()
    heard: list[int] = []
    counted(repository, {repository.resolve("HEAD"): jobs}, lambda now, done, total: heard.append(total))
    assert heard == [1]


# However it ends


SCRIPT = """
import signal
from pathlib import Path
from repositories import job
from archlab.guard.revisions import Repository
from archlab.guard.history import counted

signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background job would have ignored
repository = Repository.of(Path.cwd())
counted(repository, {repository.resolve(text): [job("net.py:Net")] for text in ("HEAD", "HEAD~1")})
"""


def hanging(scratch: Scratch, tmp_path: Path) -> tuple[subprocess.Popen[bytes], list[int]]:
    """Return a process that counts two revisions which never end, and their workers' ids, once they hang."""
    for number in (1, 2):
        pid = tmp_path / f"pid{number}"
        text = f"import os, time\nopen({str(pid)!r}, 'w').write(str(os.getpid()) + '.')\ntime.sleep(600)\n"
        scratch.commit(str(number), {**TINY, "net.py": text})
    path = os.pathsep.join([*filter(None, sys.path), str(Path(__file__).parent)])
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", SCRIPT],
        cwd=scratch.folder,
        env={**os.environ, "PYTHONPATH": path},
        stderr=subprocess.PIPE,
    )
    pids = [tmp_path / "pid1", tmp_path / "pid2"]
    wait_for(lambda: any(pid.is_file() and pid.read_text().endswith(".") for pid in pids) or process.poll())
    assert process.poll() is None
    return process, [int(pid.read_text().strip(".")) for pid in pids if pid.is_file() and pid.read_text()]


def wait_for(true: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        return "\tZ" not in Path(f"/proc/{pid}/status").read_text().replace("State:\tZ", "\tZ")
    except FileNotFoundError:
        return False


def test_an_interrupt_leaves_no_process_and_no_worktree(
    scratch: Scratch, repository: Repository, tmp_path: Path
) -> None:
    process, pids = hanging(scratch, tmp_path)
    assert left(repository)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    assert left(repository) == []
    assert not any(map(alive, pids))


def test_what_a_killed_run_left_ends_and_is_swept_by_the_next(
    scratch: Scratch, repository: Repository, tmp_path: Path
) -> None:
    process, pids = hanging(scratch, tmp_path)
    process.kill()
    process.communicate(timeout=60)
    wait_for(lambda: not any(map(alive, pids)))
    assert left(repository)
    scratch.commit("Fine", {"fine.py": "macs = 1"})
    assert macs(*count(repository, "HEAD", jobs=[job("fine.py:macs")])) == 1
    assert left(repository) == []


def test_a_run_does_not_sweep_another_that_goes_on_nor_worktrees_of_others(
    scratch: Scratch, repository: Repository, tmp_path: Path
) -> None:
    process, pids = hanging(scratch, tmp_path)
    try:
        scratch.commit("Fine", {"fine.py": "macs = 1"})
        scratch.git("worktree", "add", "--quiet", "--detach", str(tmp_path / "mine"))
        (tmp_path / "mine").rename(tmp_path / "on a disk that is not here")
        before = left(repository)
        assert macs(*count(repository, "HEAD", jobs=[job("fine.py:macs")])) == 1
        assert left(repository) == before
        assert all(map(alive, pids))
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert left(repository) == ["known to git"]
