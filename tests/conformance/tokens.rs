//! Tokens of a cluster as stock git shows them, over certificates that are minted by name. The API server is a fake; the rest is real.

mod bed;

use anyhow::Result;
use bed::{BUILDER, Bed, FOREIGNER, FORGED, HELLO, JANE, OPERATOR, POOL};

#[tokio::test(flavor = "multi_thread")]
async fn a_service_account_pushes_and_clones_through_its_service_with_a_token() -> Result<()> {
    let bed = Bed::new().await?;
    let (work, seen) = (bed.work("work")?, bed.gateway.recent_pushes(0).next);
    let url = bed.url(BUILDER, HELLO, "team-a/hello");
    bed.git(&["-C", &work, "push", "--quiet", &url, "main"])?.accepted()?;
    let pushed = bed.gateway.recent_pushes(seen);
    assert!(!pushed.missed);
    assert_eq!(pushed.paths.into_iter().collect::<Vec<_>>(), ["team-a/hello".parse()?]);
    bed.git(&["clone", "--quiet", &url, "clone"])?.accepted()?;
    assert_eq!(bed.git.head(&bed.git.path("clone"))?, bed.git.head(&bed.git.path("work"))?);
    let bearer = format!("http.extraHeader=Authorization: Bearer {BUILDER}");
    let plain = url.replace(&format!("x:{BUILDER}@"), "");
    bed.git(&["-c", &bearer, "ls-remote", &plain])?.accepted()?;
    assert_eq!(bed.gateway.recent_pushes(pushed.next).paths.len(), 0, "reading is no push");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_short_address_takes_its_namespace_from_the_host_or_from_the_token() -> Result<()> {
    let bed = Bed::new().await?;
    for (token, host) in [(BUILDER, HELLO), (JANE, HELLO), (BUILDER, POOL)] {
        bed.git(&["ls-remote", &bed.url(token, host, "v1/repos/hello")])?.accepted()?;
    }
    // The pool's own name says nothing, and neither does a person's token.
    let told = bed.git(&["ls-remote", &bed.url(JANE, POOL, "v1/repos/hello")])?.refused()?;
    assert!(told.contains("not found"), "{told}");
    let told = bed.git(&["ls-remote", &bed.url(FOREIGNER, POOL, "v1/repos/hello")])?.refused()?;
    assert!(told.contains("team-b/hello"), "the token's own namespace: {told}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn others_learn_nothing_and_readers_may_not_push() -> Result<()> {
    let bed = Bed::new().await?;
    let told = bed.git(&["ls-remote", &bed.url(FOREIGNER, HELLO, "team-a/hello")])?.refused()?;
    assert!(told.contains("system:serviceaccount:team-b:builder") && told.contains("was not found, or"), "{told}");
    let told = bed.git(&["ls-remote", &bed.url(BUILDER, POOL, "team-b/closed")])?.refused()?;
    assert!(told.contains("was not found, or"), "{told}");
    let told = bed.git(&["ls-remote", &bed.url(FORGED, HELLO, "team-a/hello")])?.refused()?;
    assert!(told.contains("Authentication failed"), "{told}");
    let work = bed.work("work")?;
    let url = bed.url(JANE, HELLO, "team-a/hello");
    bed.git(&["ls-remote", &url])?.accepted()?;
    let told = bed.git(&["-C", &work, "push", &url, "main"])?.refused()?;
    assert!(told.contains("no AccessPolicy allows codecommit:GitPush") && told.contains("jane@example.com"), "{told}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_lists_references_of_every_repository_and_does_nothing_else() -> Result<()> {
    let bed = Bed::new().await?;
    let work = bed.work("work")?;
    bed.git(&["-C", &work, "push", "--quiet", &bed.url(BUILDER, HELLO, "team-a/hello"), "main"])?.accepted()?;
    let url = bed.url(OPERATOR, HELLO, "team-a/hello");
    for version in ["0", "1", "2"] {
        let protocol = format!("protocol.version={version}");
        let shown = bed.git(&["-c", &protocol, "ls-remote", &url])?.accepted()?;
        assert!(shown.contains("refs/heads/main"), "{shown}");
        // A policy of the namespace lets this group do everything; the operator stays what it is.
        let told = bed.git(&["-c", &protocol, "clone", &url, &format!("clone-{version}")])?.refused()?;
        assert!(told.contains("the operator may list references and nothing else"), "{told}");
    }
    let told = bed.git(&["-C", &work, "push", &url, "main:other"])?.refused()?;
    assert!(told.contains("the operator may list references and nothing else"), "{told}");
    for (token, is_told) in [(BUILDER, false), (OPERATOR, true)] {
        let said = bed.ask(&bed.url(token, HELLO, "team-a/hello"), "bundle-uri")?;
        assert!(said.contains("ls-refs=") && !said.contains("000fbundle-uri"), "nobody reaches this store: {said}");
        assert_eq!(said.contains("ERR the operator may list references and nothing else"), is_told, "{said}");
    }
    // git-lfs resolves names by itself.
    let locks = |token: &str| {
        let address = format!("lfs.url={}.git/info/lfs", bed.url(token, "127.0.0.1", "team-a/hello"));
        bed.git(&["-C", &work, "-c", "http.sslVerify=false", "-c", &address, "lfs", "locks"])
    };
    locks(BUILDER)?.accepted()?;
    let told = locks(OPERATOR)?.refused()?;
    assert!(told.contains("the operator may list references and nothing else"), "{told}");
    bed.git(&["ls-remote", &bed.url(OPERATOR, POOL, "team-b/closed")])?.accepted()?;
    let told = bed.git(&["ls-remote", &bed.url(OPERATOR, POOL, "team-a/asleep")])?.refused()?;
    assert!(told.contains("suspended"), "{told}");
    let told = bed.git(&["ls-remote", &bed.url(OPERATOR, POOL, "team-a/nothing")])?.refused()?;
    assert!(told.contains("repository 'team-a/nothing' was not found"), "{told}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_api_server_known_tokens_work_and_others_read_one_clear_line() -> Result<()> {
    let bed = Bed::new().await?;
    let known = bed.url(BUILDER, HELLO, "team-a/hello");
    bed.git(&["ls-remote", &known])?.accepted()?;
    bed.api_server_is_away(true);
    bed.git(&["ls-remote", &known])?.accepted()?;
    let told = bed.git(&["ls-remote", &bed.url(JANE, HELLO, "team-a/hello")])?.refused()?;
    assert!(told.contains("the Kubernetes API server does not answer") && told.contains("503"), "{told}");
    assert!(!told.contains("Authentication failed"), "a right token must not look wrong: {told}");
    bed.api_server_is_away(false);
    bed.git(&["ls-remote", &bed.url(JANE, HELLO, "team-a/hello")])?.accepted()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_nobodys_gets_no_certificate() -> Result<()> {
    let bed = Bed::new().await?;
    let told =
        bed.git(&["ls-remote", &bed.url(BUILDER, "secret.team-b.svc.cluster.local", "team-a/hello")])?.refused()?;
    assert!(told.contains("SSL") || told.contains("TLS") || told.contains("gnutls"), "{told}");
    // A client that goes by address gets the pool's certificate, which is not for addresses.
    let by_address = bed.url(BUILDER, "127.0.0.1", "team-a/hello");
    assert!(!bed.git(&["ls-remote", &by_address])?.ok);
    bed.git(&["-c", "http.sslVerify=false", "ls-remote", &by_address])?.accepted()?;
    Ok(())
}
