//! Against a server that answers as the transit engine does, by its documented API.

use std::sync::{Arc, Mutex};

use axum::extract::{Path as At, State};
use axum::http::{HeaderMap, StatusCode as Status};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use model::clock::SystemRandom;

use super::*;
use crate::KeyServiceUrl;

/// What the server is like at the moment.
#[derive(Clone, Default)]
struct Engine {
    sealed: Arc<Mutex<bool>>,
    log: Arc<Mutex<Vec<String>>>,
}

fn errors(status: Status, text: &str) -> Response {
    (status, Json(json!({"errors": [text]}))).into_response()
}

async fn answer(
    State(engine): State<Engine>,
    At((mount, action, key)): At<(String, String, String)>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    engine.log.lock().unwrap().push(format!("{mount}/{action}/{key}"));
    if *engine.sealed.lock().unwrap() {
        return errors(Status::SERVICE_UNAVAILABLE, "Vault is sealed");
    }
    if headers.get("X-Vault-Token").is_none_or(|token| token != "s.good") {
        return errors(Status::FORBIDDEN, "1 error occurred:\n\t* permission denied\n\n");
    }
    let text = |field: &str| body[field].as_str().unwrap_or_default().to_owned();
    match action.as_str() {
        "encrypt" => {
            let wrapped = format!("vault:v1:{key}:{}:{}", text("associated_data"), text("plaintext"));
            Json(json!({"data": {"ciphertext": wrapped}})).into_response()
        }
        _ => match text("ciphertext").strip_prefix(&format!("vault:v1:{key}:{}:", text("associated_data"))) {
            Some(plain) => Json(json!({"data": {"plaintext": plain}})).into_response(),
            None => errors(Status::BAD_REQUEST, "cipher: message authentication failed"),
        },
    }
}

async fn bed() -> (Engine, Transit, tempfile::TempDir) {
    let engine = Engine::default();
    let router = Router::new().route("/v1/{mount}/{action}/{key}", post(answer)).with_state(engine.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
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
    assert_eq!(engine.log.lock().unwrap().last().map(String::as_str), Some("transit/encrypt/../../sys/seal"));
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
