//! Against a server that answers as the transit engine does, by its documented API.

use std::sync::{Arc, Mutex};

use model::clock::SystemRandom;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::KeyServiceUrl;

/// What the server is like at the moment.
#[derive(Clone, Default)]
struct Engine {
    sealed: Arc<Mutex<bool>>,
    log: Arc<Mutex<Vec<String>>>,
}

fn errors(text: &str) -> Value {
    json!({"errors": [text]})
}

impl Engine {
    /// What it answers: status and body.
    fn answer(&self, path: &str, token: &str, body: &Value) -> (u16, Value) {
        let (action, key) = path.trim_start_matches("/v1/transit/").split_once('/').unwrap_or_default();
        self.log.lock().unwrap().push(path.to_owned());
        if *self.sealed.lock().unwrap() {
            return (503, errors("Vault is sealed"));
        }
        if token != "s.good" {
            return (403, errors("1 error occurred:\n\t* permission denied\n\n"));
        }
        let text = |field: &str| body[field].as_str().unwrap_or_default().to_owned();
        if action == "encrypt" {
            let wrapped = format!("vault:v1:{key}:{}:{}", text("associated_data"), text("plaintext"));
            return (200, json!({"data": {"ciphertext": wrapped}}));
        }
        let sealed = format!("vault:v1:{key}:{}:", text("associated_data"));
        match text("ciphertext").strip_prefix(&sealed) {
            Some(plain) => (200, json!({"data": {"plaintext": plain}})),
            None => (400, errors("cipher: message authentication failed")),
        }
    }

    /// Reads one request and answers it.
    async fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let (mut input, mut line) = (BufReader::new(stream), String::new());
        input.read_line(&mut line).await?;
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let (mut length, mut token) = (0, String::new());
        loop {
            line.clear();
            input.read_line(&mut line).await?;
            match line.trim().split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse().unwrap(),
                Some((name, value)) if name.eq_ignore_ascii_case("x-vault-token") => value.clone_into(&mut token),
                Some(_) => {}
                None => break,
            }
        }
        let mut body = vec![0; length];
        input.read_exact(&mut body).await?;
        let (status, answer) = self.answer(&path, &token, &serde_json::from_slice(&body).unwrap());
        let answer = answer.to_string();
        let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", answer.len());
        input.write_all(format!("{head}{answer}").as_bytes()).await
    }
}

async fn bed() -> (Engine, Transit, tempfile::TempDir) {
    let engine = Engine::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = engine.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            serving.serve(stream).await.unwrap();
        }
    });
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("VAULT_TOKEN"), "s.good\n").unwrap();
    let Ok(KeyServiceUrl::Transit(url)) = format!("vault+http://{address}/transit").parse() else {
        panic!("no address")
    };
    (engine, Transit::open(&url, Some(folder.path())).await.unwrap(), folder)
}

#[tokio::test]
async fn what_is_wrapped_is_unwrapped_for_the_same_repository_and_key_only() {
    let (engine, transit, _folder) = bed().await;
    let (id, other) = (RepositoryId::random(&SystemRandom), RepositoryId::random(&SystemRandom));
    let wrapped = transit.wrap("team-a", &id, b"data keys").await.unwrap();
    assert_eq!(*transit.unwrap("team-a", &id, &wrapped).await.unwrap(), b"data keys");
    for (key, id) in [("team-a", &other), ("team-b", &id)] {
        let refused = transit.unwrap(key, id, &wrapped).await.unwrap_err();
        assert!(matches!(&refused, KeyError::Refused(line) if line.contains("authentication failed")), "{refused}");
    }
    // A name cannot lead to another path of the API.
    assert!(transit.wrap("../../sys/seal", &id, b"x").await.is_ok());
    assert_eq!(
        engine.log.lock().unwrap().last().map(String::as_str),
        Some("/v1/transit/encrypt/%2E%2E%2F%2E%2E%2Fsys%2Fseal")
    );
}

#[tokio::test]
async fn a_lost_token_is_a_refusal_and_a_sealed_server_is_waited_for() {
    let (engine, transit, folder) = bed().await;
    let id = RepositoryId::random(&SystemRandom);
    *engine.sealed.lock().unwrap() = true;
    let sealed = transit.wrap("team-a", &id, b"x").await.unwrap_err();
    assert!(matches!(&sealed, KeyError::Unavailable(line) if line.contains("sealed")), "{sealed}");
    *engine.sealed.lock().unwrap() = false;
    std::fs::write(folder.path().join("VAULT_TOKEN"), "s.old").unwrap();
    let denied = transit.wrap("team-a", &id, b"x").await.unwrap_err();
    assert!(
        matches!(&denied, KeyError::Refused(line) if line.contains("permission denied") && !line.contains('\n')),
        "{denied}"
    );
    std::fs::write(folder.path().join("VAULT_TOKEN"), "s.good").unwrap();
    assert!(transit.wrap("team-a", &id, b"x").await.is_ok());
    let gone = Transit {
        client: Client::new(),
        url: TransitUrl { server: "http://127.0.0.1:9/".parse().unwrap(), ..transit.url },
        ..transit
    };
    let unreachable = gone.wrap("team-a", &id, b"x").await.unwrap_err();
    assert!(matches!(&unreachable, KeyError::Unavailable(line) if !line.contains("s.good")), "{unreachable}");
}
