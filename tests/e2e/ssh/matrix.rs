//! Who may do what over which transport: every combination against `tests/golden/authorization.txt`.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::{Result, ensure};
use model::AccountId;
use tests::binary::workspace;
use tests::manifests::PASSWORD;
use tests::raw_http::{basic, send};

use super::SshBed;

/// Repositories of team-a, named after what alice is allowed there; of the others nobody is, unless it says so.
const REPOSITORIES: [(&str, &str); 9] = [
    ("no-policy", ""),
    ("pull", r#"[{sid: s, effect: Allow, actions: ["codecommit:GitPull"], repositories: {names: [pull]}}]"#),
    ("push", r#"[{sid: s, effect: Allow, actions: ["codecommit:GitPush"], repositories: {names: [push]}}]"#),
    (
        "both",
        r#"[{sid: s, effect: Allow, actions: ["codecommit:GitPull", "codecommit:GitPush"], repositories: {names: [both]}}]"#,
    ),
    ("everything", r#"[{sid: s, effect: Allow, actions: ["codecommit:*"], repositories: {names: [everything]}}]"#),
    (
        "pull-denied",
        r#"[{sid: s, effect: Allow, actions: ["codecommit:*"], repositories: {names: [pull-denied]}}, {sid: d, effect: Deny, actions: ["codecommit:GitPull"], repositories: {names: [pull-denied]}}]"#,
    ),
    (
        "far-away",
        r#"[{sid: s, effect: Allow, actions: ["codecommit:*"], repositories: {names: [far-away]}, conditions: {sourceAddresses: [203.0.113.0/24]}}]"#,
    ),
    ("suspended", r#"[{sid: s, effect: Allow, actions: ["codecommit:*"], repositories: {names: [suspended]}}]"#),
    ("public", r#"[{sid: s, effect: Allow, actions: ["codecommit:GitPull"], repositories: {names: [public]}}]"#),
];

/// Those, and one that is not there.
const ABSENT: &str = "absent";

const OID: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
const LOCK: &str = "00000000000000000000000000000000";

/// A verb over both transports: a request, and a command with the repository's path in the place of `{}`.
struct Verb {
    name: &'static str,
    http: Option<(&'static str, &'static str, &'static str)>,
    ssh: Option<&'static str>,
}

const fn http(name: &'static str, method: &'static str, target: &'static str, body: &'static str) -> Verb {
    Verb { name, http: Some((method, target, body)), ssh: None }
}

const GIT_VERBS: [Verb; 6] = [
    Verb {
        name: "fetch, advertisement",
        http: Some(("GET", "info/refs?service=git-upload-pack", "")),
        ssh: Some("git-upload-pack '{}'"),
    },
    http("fetch", "POST", "git-upload-pack", "0000"),
    Verb {
        name: "push, advertisement",
        http: Some(("GET", "info/refs?service=git-receive-pack", "")),
        ssh: Some("git-receive-pack '{}'"),
    },
    http("push", "POST", "git-receive-pack", "0000"),
    Verb { name: "archive", http: None, ssh: Some("git-upload-archive '{}'") },
    http("files of the old protocol", "GET", "HEAD", ""),
];

const LFS_VERBS: [Verb; 12] = [
    Verb { name: "lfs pass to fetch", http: None, ssh: Some("git-lfs-authenticate '{}' download") },
    Verb { name: "lfs pass to push", http: None, ssh: Some("git-lfs-authenticate '{}' upload") },
    http("lfs batch to fetch", "POST", "info/lfs/objects/batch", r#"{"operation":"download","objects":[]}"#),
    http("lfs batch to push", "POST", "info/lfs/objects/batch", r#"{"operation":"upload","objects":[]}"#),
    http("lfs batch of nonsense", "POST", "info/lfs/objects/batch", "nonsense"),
    http("lfs download", "GET", "info/lfs/objects/OID", ""),
    http("lfs upload", "PUT", "info/lfs/objects/OID?size=1", "x"),
    http("lfs verify", "POST", "info/lfs/verify", r#"{"oid":"OID","size":1}"#),
    http("lfs locks", "GET", "info/lfs/locks", ""),
    http("lfs locks before a push", "POST", "info/lfs/locks/verify", "{}"),
    http("lfs lock", "POST", "info/lfs/locks", r#"{"path":""}"#),
    http("lfs unlock", "POST", "info/lfs/locks/LOCK/unlock", "{}"),
];

const PRINCIPALS: [&str; 5] = ["nobody", "alice", "bob", "dave", "mallory"];

/// What a refusal says, whatever the transport; everything else came past the decision.
fn decision(text: &str) -> &'static str {
    let known = [
        ("was not found, or no AccessPolicy", "hidden"),
        ("is suspended", "suspended"),
        ("denied by AccessPolicy", "denied"),
        ("no AccessPolicy allows", "forbidden"),
        ("Permission denied (publickey)", "unknown"),
    ];
    known.into_iter().find(|(words, _)| text.contains(words)).map_or("yes", |(_, decision)| decision)
}

fn over_http(bed: &SshBed, principal: &str, repository: &str, verb: &Verb) -> Result<&'static str> {
    let Some((method, target, body)) = verb.http else { return Ok("-") };
    let fill = |text: &str| text.replace("OID", OID).replace("LOCK", LOCK);
    let content_type = match target.split('/').next_back() {
        Some("git-upload-pack") => "application/x-git-upload-pack-request",
        Some("git-receive-pack") => "application/x-git-receive-pack-request",
        _ => "application/vnd.git-lfs+json",
    };
    let authorization = match principal {
        "mallory" => basic("alice", "not-the-password"),
        // A user of another namespace says so.
        "dave" => basic(&format!("dave-at-{}", AccountId::of(&"team-b".parse()?)), PASSWORD),
        other => basic(other, PASSWORD),
    };
    let mut headers = vec![("Content-Type", content_type)];
    if principal != "nobody" {
        headers.push(("Authorization", authorization.as_str()));
    }
    let target = format!("/team-a/{repository}/{}", fill(target));
    let answer = send(bed.bed.server.address(), method, &target, &headers, fill(body).as_bytes())?;
    ensure!(answer.status < 500, "{principal} {method} {target}: {}", answer.text());
    let decided = decision(&answer.text());
    if answer.status == 401 {
        return Ok("unknown");
    }
    let is_told = match decided {
        "yes" => true,
        "hidden" => answer.status == 404,
        _ => answer.status == 403,
    };
    ensure!(is_told, "{principal} {method} {target}: {} {}", answer.status, answer.text());
    Ok(decided)
}

fn over_ssh(bed: &SshBed, principal: &str, repository: &str, verb: &Verb) -> Result<&'static str> {
    let Some(command) = verb.ssh.filter(|_| principal != "nobody") else { return Ok("-") };
    let command = command.replace("{}", &format!("/team-a/{repository}"));
    // One connection for each key.
    let socket = format!("ControlPath={}", bed.ssh.path(&format!("control-{principal}")).display());
    let arguments = ["-o", "ControlMaster=auto", "-o", "ControlPersist=30", "-o", &socket, &command];
    let output = bed.ssh.command(principal, bed.address, &arguments).stderr(std::process::Stdio::piped()).output()?;
    Ok(decision(&String::from_utf8_lossy(&output.stderr)))
}

fn bed() -> Result<SshBed> {
    let bed = SshBed::new()?;
    let manifests = &bed.bed.manifests;
    let mut policies = String::new();
    for (name, statements) in REPOSITORIES {
        let spec = if name == "suspended" { "{suspend: true}" } else { "{}" };
        let head = "apiVersion: codekeep.dev/v1alpha1";
        manifests.write(
            &format!("repository-team-a-{name}.yaml"),
            &format!("{head}\nkind: Repository\nmetadata: {{name: {name}, namespace: team-a}}\nspec: {spec}\n"),
        )?;
        let subject = if name == "public" { "{kind: Anonymous}" } else { "{kind: LocalUser, name: alice}" };
        if !statements.is_empty() {
            writeln!(
                policies,
                "---\n{head}\nkind: AccessPolicy\nmetadata: {{name: {name}, namespace: team-a}}\nspec:\n  subjects: [{subject}]\n  statements: {statements}"
            )?;
        }
    }
    manifests.write("policies.yaml", &policies)?;
    // dave's own namespace, where he may do everything.
    manifests.write(
        "policies-team-b.yaml",
        "apiVersion: codekeep.dev/v1alpha1\nkind: AccessPolicy\nmetadata: {name: others, namespace: team-b}\nspec:\n  \
         subjects: [{kind: LocalUser, name: dave}]\n  statements: [{sid: s, effect: Allow, actions: [\"codecommit:*\"], repositories: {names: [\"*\"]}}]\n",
    )?;
    tests::wait::until("the policies", std::time::Duration::from_secs(20), || {
        let allowed = over_http(&bed, "nobody", "public", &GIT_VERBS[0])? == "yes";
        let denied = over_http(&bed, "alice", "no-policy", &GIT_VERBS[0])? == "hidden";
        Ok((allowed && denied).then_some(()))
    })?;
    Ok(bed)
}

#[test]
fn every_way_in_asks_the_same_question() -> Result<()> {
    let bed = bed()?;
    let mut lines = vec![
        "# What each principal is told about a repository of team-a: alice is named by its policy, bob is of team-a, dave of team-b,".to_owned(),
        "# mallory has a wrong password and an unknown key. UPDATE_GOLDEN=1 cargo xtask test writes it anew.".to_owned(),
        format!("{:<12} {:<8} {:<26} {:<10} {}", "# repository", "who", "what", "HTTP", "SSH"),
    ];
    let mut disagreeing = BTreeSet::new();
    for repository in REPOSITORIES.into_iter().map(|(name, _)| name).chain([ABSENT]) {
        // Each wrong password costs a hash: once is enough.
        for principal in PRINCIPALS.into_iter().filter(|name| *name != "mallory" || repository == "public") {
            for verb in GIT_VERBS.iter().chain(&LFS_VERBS) {
                let http = over_http(&bed, principal, repository, verb)?;
                let ssh = over_ssh(&bed, principal, repository, verb)?;
                if http != "-" && ssh != "-" && http != ssh {
                    disagreeing.insert(format!("{repository} {principal} {}: {http} and {ssh}", verb.name));
                }
                lines.push(format!("{repository:<12} {principal:<8} {:<26} {http:<10} {ssh}", verb.name));
            }
        }
    }
    let hidden = |name: &str| -> Vec<String> {
        let own = lines.iter().filter(|line| line.starts_with(&format!("{name} ")));
        own.map(|line| line.replacen(name, "", 1).trim_start().to_owned()).collect()
    };
    assert_eq!(hidden(ABSENT), hidden("no-policy"), "what is not there and what is hidden look the same");
    assert_eq!(disagreeing, BTreeSet::new(), "transports decide differently");
    let (path, text) = (workspace().join("tests/golden/authorization.txt"), lines.join("\n") + "\n");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text)?;
    }
    assert_eq!(text, std::fs::read_to_string(path)?, "decisions changed: review them, then UPDATE_GOLDEN=1");
    Ok(())
}
