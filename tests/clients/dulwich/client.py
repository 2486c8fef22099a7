"""dulwich as a Git client: verbs on standard input, answers on standard output. See tests/clients/README.md."""

import io
import os
import sys

from dulwich import porcelain
from dulwich.config import StackedConfig
from dulwich.repo import Repo

WHO = b"Test User <test@example.com>"
# Over SSH it starts the program of GIT_SSH_COMMAND.
KNOWN = {} if "CLIENT_KEY" in os.environ else {"username": os.environ["CLIENT_USER"], "password": os.environ["CLIENT_PASSWORD"]}
QUIET = {"errstream": io.BytesIO()}


def head(repo):
    try:
        return repo.head().decode()
    except KeyError:
        return ""


def init(url, folder):
    repo = porcelain.init(folder)
    porcelain.remote_add(repo, "origin", url)
    repo.refs.set_symbolic_ref(b"HEAD", b"refs/heads/main")
    return ""


def clone(url, folder, depth, filter_spec):
    # It reads no promised objects later on, so that nothing is checked out of a partial clone.
    repo = porcelain.clone(
        url, folder, depth=int(depth) or None, filter_spec=filter_spec or None, checkout=not filter_spec, **QUIET, **KNOWN
    )
    return head(repo)


def fetch(folder, depth):
    porcelain.fetch(folder, "origin", depth=int(depth) or None, include_tags=True, outstream=io.StringIO(), **QUIET, **KNOWN)
    return ""


def commit(folder, message):
    porcelain.add(folder)
    return porcelain.commit(folder, message=message.encode(), author=WHO, committer=WHO).decode()


def tag(folder, name):
    porcelain.tag_create(folder, name, author=WHO, message=b"Release " + name.encode(), annotated=True)
    return Repo(folder).refs[b"refs/tags/" + name.encode()].decode()


def push(folder, *specs):
    result = porcelain.push(folder, "origin", list(specs), outstream=io.BytesIO(), **QUIET, **KNOWN)
    refused = {name.decode(): error for name, error in (result.ref_status or {}).items() if error}
    if refused:
        raise RuntimeError(str(refused))
    return ""


def refs(url):
    found = porcelain.ls_remote(url, config=StackedConfig.default(), **KNOWN).refs
    return " ".join(f"{id.decode()} {name.decode()}" for name, id in found.items() if id)


VERBS = {"init": init, "clone": clone, "fetch": fetch, "commit": commit, "tag": tag, "push": push, "refs": refs}

for line in sys.stdin:
    verb, *words = line.rstrip("\n").split("\t")
    try:
        answer = "ok\t" + VERBS[verb](*words) if verb in VERBS else "cannot\t"
    except Exception as error:  # whatever it is, the test reads it
        answer = f"no\t{type(error).__name__}: {error}"
    print(answer.replace("\n", " "), flush=True)
