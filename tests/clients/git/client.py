"""A newer stock git as a Git client: verbs on standard input, answers on standard output. See tests/clients/README.md.

The git is the first one on the path.
"""

import os
import subprocess
import sys

SETTINGS = {
    "user.name": "Test User",
    "user.email": "test@example.com",
    "init.defaultBranch": "main",
    "core.fsync": "none",
    "gc.auto": "0",
    "maintenance.auto": "false",
}
os.environ.update(GIT_TERMINAL_PROMPT="0", LC_ALL="C", GIT_CONFIG_COUNT=str(len(SETTINGS)))
for number, (key, value) in enumerate(SETTINGS.items()):
    os.environ |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}


def git(*words, folder=None):
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout.strip()


def head(folder):
    try:
        return git("rev-parse", "--verify", "--quiet", "HEAD", folder=folder)
    except RuntimeError:
        return ""


def init(url, folder):
    git("init", "--quiet", folder)
    return git("remote", "add", "origin", url, folder=folder)


def clone(url, folder, depth, filter_spec):
    words = ["--depth", depth] if int(depth) else []
    # What is missing would be fetched for the check-out.
    words += ["--filter", filter_spec, "--no-checkout"] if filter_spec else []
    git("clone", "--quiet", *words, url, folder)
    return head(folder)


def fetch(folder, depth):
    return git("fetch", "--quiet", "--tags", *(["--depth", depth] if int(depth) else []), "origin", folder=folder)


def commit(folder, message):
    git("add", "--all", folder=folder)
    git("commit", "--quiet", "--message", message, folder=folder)
    return head(folder)


def tag(folder, name):
    git("tag", "--annotate", "--message", f"Release {name}", name, folder=folder)
    return git("rev-parse", f"refs/tags/{name}", folder=folder)


def push(folder, *specs):
    return git("push", "--quiet", "origin", *specs, folder=folder)


def refs(url):
    return " ".join(git("ls-remote", url).split())


VERBS = {"init": init, "clone": clone, "fetch": fetch, "commit": commit, "tag": tag, "push": push, "refs": refs}

for line in sys.stdin:
    verb, *words = line.rstrip("\n").split("\t")
    try:
        answer = "ok\t" + VERBS[verb](*words) if verb in VERBS else "cannot\t"
    except RuntimeError as error:
        answer = f"no\t{error}"
    print(answer.replace("\n", " "), flush=True)
