"""libgit2, by pygit2, as a Git client: verbs on standard input, answers on standard output. See tests/clients/README.md."""

import os
import sys

import pygit2

WHO = pygit2.Signature("Test User", "test@example.com")
DEFAULT = ["+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"]


class Callbacks(pygit2.RemoteCallbacks):
    """Gives the credential once, and keeps what the server said about each ref."""

    def __init__(self):
        key = os.environ.get("CLIENT_KEY")
        if key:
            self.credential = pygit2.Keypair("git", key + ".pub", key, "")
        else:
            self.credential = pygit2.UserPass(os.environ["CLIENT_USER"], os.environ["CLIENT_PASSWORD"])
        self.asked = 0
        self.refused = {}
        super().__init__()

    def credentials(self, url, username_from_url, allowed_types):
        self.asked += 1
        if self.asked > 2:
            raise PermissionError("the server takes no such credential")
        return self.credential

    def certificate_check(self, certificate, valid, host):
        return True

    def push_update_reference(self, name, message):
        if message:
            self.refused[name] = message


def head(repo):
    return "" if repo.head_is_unborn else str(repo.head.target)


def init(url, folder):
    repo = pygit2.init_repository(folder, initial_head="main")
    repo.remotes.create("origin", url)
    return ""


def clone(url, folder, depth, filter_spec):
    if filter_spec:
        return None
    return head(pygit2.clone_repository(url, folder, depth=int(depth), callbacks=Callbacks()))


def fetch(folder, depth):
    pygit2.Repository(folder).remotes["origin"].fetch(DEFAULT, depth=int(depth), callbacks=Callbacks())
    return ""


def commit(folder, message):
    repo = pygit2.Repository(folder)
    repo.index.add_all()
    repo.index.write()
    parents = [] if repo.head_is_unborn else [repo.head.target]
    return str(repo.create_commit("HEAD", WHO, WHO, message, repo.index.write_tree(), parents))


def tag(folder, name):
    repo = pygit2.Repository(folder)
    return str(repo.create_tag(name, repo.head.target, pygit2.enums.ObjectType.COMMIT, WHO, "Release " + name))


def push(folder, *specs):
    repo = pygit2.Repository(folder)
    callbacks = Callbacks()
    # It resolves no HEAD in a refspec.
    specs = [repo.head.name + spec[4:] if spec.startswith("HEAD:") else spec for spec in specs]
    repo.remotes["origin"].push(specs, callbacks=callbacks)
    if callbacks.refused:
        raise RuntimeError(str(callbacks.refused))
    return ""


def refs(url):
    remote = pygit2.init_repository("refs", bare=True).remotes.create_anonymous(url)
    return " ".join(f"{found.oid} {found.name}" for found in remote.list_heads(callbacks=Callbacks()))


VERBS = {"init": init, "clone": clone, "fetch": fetch, "commit": commit, "tag": tag, "push": push, "refs": refs}

for line in sys.stdin:
    verb, *words = line.rstrip("\n").split("\t")
    try:
        text = VERBS[verb](*words) if verb in VERBS else None
        answer = "cannot\t" if text is None else "ok\t" + text
    except Exception as error:  # whatever it is, the test reads it
        answer = f"no\t{type(error).__name__}: {error}"
    print(answer.replace("\n", " "), flush=True)
