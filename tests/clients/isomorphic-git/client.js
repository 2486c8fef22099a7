// isomorphic-git as a Git client: verbs on standard input, answers on standard output. See tests/clients/README.md.
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import readline from "node:readline";

// The packages are installed beside the other tools, not beside this file.
const require = createRequire(path.join(process.env.CLIENT_MODULES, "client.js"));
const git = require("isomorphic-git");
const http = require("isomorphic-git/http/node");

const CANNOT = Symbol("isomorphic-git has no function for it");
const author = { name: "Test User", email: "test@example.com" };
const onAuth = () => ({ username: process.env.CLIENT_USER, password: process.env.CLIENT_PASSWORD });
// Asked only after a refusal: without this a wrong password would be sent for ever.
const onAuthFailure = () => ({ cancel: true });
const remote = { fs, http, onAuth, onAuthFailure };

const verbs = {
  async init(url, dir) {
    await git.init({ fs, dir, defaultBranch: "main" });
    await git.addRemote({ fs, dir, remote: "origin", url });
    return "";
  },
  async clone(url, dir, depth, filter) {
    if (filter) return CANNOT;
    await git.clone({ ...remote, dir, url, ...limit(depth) });
    // An empty repository has no commit to show.
    const branches = await git.listBranches({ fs, dir });
    return branches.length === 0 ? "" : git.resolveRef({ fs, dir, ref: "HEAD" });
  },
  async fetch(dir, depth) {
    await git.fetch({ ...remote, dir, remote: "origin", tags: true, ...limit(depth) });
    return "";
  },
  async commit(dir, message) {
    const rows = await git.statusMatrix({ fs, dir });
    for (const [filepath, , workdir, stage] of rows) {
      if (workdir !== stage) await git.add({ fs, dir, filepath });
    }
    return git.commit({ fs, dir, message, author });
  },
  async tag(dir, name) {
    await git.annotatedTag({ fs, dir, ref: name, message: `Release ${name}`, tagger: author });
    return git.resolveRef({ fs, dir, ref: `refs/tags/${name}` });
  },
  async push(dir, ...specs) {
    // One ref at a time is all that it pushes.
    if (specs.length !== 1) return CANNOT;
    const [source, target] = specs[0].split(":");
    const refs = source ? { ref: source === "HEAD" ? await git.currentBranch({ fs, dir }) : source, remoteRef: target } : { ref: await git.currentBranch({ fs, dir }), remoteRef: target, delete: true };
    await git.push({ ...remote, dir, remote: "origin", ...refs });
    return "";
  },
  async refs(url) {
    const found = await git.listServerRefs({ ...remote, url });
    return found.map(({ oid, ref }) => `${oid} ${ref}`).join(" ");
  },
};

function limit(depth) {
  return depth === "0" ? {} : { depth: Number(depth) };
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  const [verb, ...words] = line.split("\t");
  let answer;
  try {
    const text = verb in verbs ? await verbs[verb](...words) : CANNOT;
    answer = text === CANNOT ? "cannot\t" : `ok\t${text}`;
  } catch (error) {
    const refs = error.data?.result?.refs;
    const refused = refs ? Object.entries(refs).filter(([, ref]) => !ref.ok).map(([name, ref]) => `${name}: ${ref.error}`) : [];
    answer = `no\t${[error.message, error.data?.response, ...refused].filter(Boolean).join(" ")}`;
  }
  process.stdout.write(`${answer.replaceAll("\n", " ")}\n`);
}
