"""jj as a Git client, beside a .git folder: verbs on standard input, answers on standard output. See tests/clients/README.md.

It starts the first git on the path to fetch and push. It has no annotated tags, no listing of a server, no filter.
"""

import os
import subprocess
import sys

os.environ.update(GIT_TERMINAL_PROMPT="0", LC_ALL="C", JJ_USER="Test User", JJ_EMAIL="test@example.com")


def jj(*words, folder=None):
    # It leaves out new files of more than a megabyte otherwise.
    settings = ["--quiet", "--no-pager", "--color", "never", "--config", "snapshot.max-new-file-size=0"]
    words = ["jj", *settings, *words]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout.strip()


def commit_id(folder, revision):
    return jj("log", "--no-graph", "--revisions", revision, "--template", "commit_id", folder=folder)


def head(folder):
    found = commit_id(folder, "@-")
    return "" if set(found) <= {"0"} else found


def init(url, folder):
    jj("git", "init", "--colocate", folder)
    return jj("git", "remote", "add", "origin", url, folder=folder)


def clone(url, folder, depth, filter_spec):
    if filter_spec:
        return None
    jj("git", "clone", "--colocate", *(["--depth", depth] if int(depth) else []), url, folder)
    return head(folder)


def fetch(folder, _depth):
    return jj("git", "fetch", folder=folder)


def commit(folder, message):
    jj("commit", "--message", message, folder=folder)
    return head(folder)


def push(folder, *specs):
    names = []
    for spec in specs:
        source, target = spec.split(":")
        if not target.startswith("refs/heads/"):
            return None
        name = target.removeprefix("refs/heads/")
        if source:
            jj("bookmark", "set", "--revision", "@-", name, folder=folder)
        else:
            jj("bookmark", "delete", name, folder=folder)
        names += ["--bookmark", name]
    return jj("git", "push", "--remote", "origin", *names, folder=folder)


VERBS = {"init": init, "clone": clone, "fetch": fetch, "commit": commit, "push": push}

for line in sys.stdin:
    verb, *words = line.rstrip("\n").split("\t")
    try:
        text = VERBS[verb](*words) if verb in VERBS else None
        answer = "cannot\t" if text is None else f"ok\t{text}"
    except RuntimeError as error:
        answer = f"no\t{error}"
    print(answer.replace("\n", " "), flush=True)
