//! HTTP: connections, TLS, and from a request to a service and back.

mod answer;
pub(crate) mod lfs;
mod path;
mod respond;
mod tls;

use std::future::{Ready, ready};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::Response;
use axum::{Extension, Router};
use axum_server::Handle;
use axum_server::accept::Accept;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use futures::TryStreamExt as _;
use git::advertise::{Service, Version};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use model::desired::RepositoryConfig;
use model::policy::{Action, Principal};
use model::{Namespace, RepositoryPath};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceBuilder;
use tower_http::decompression::RequestDecompressionLayer;
use tower_http::map_request_body::MapRequestBodyLayer;

use crate::authn::{Claim, Identity, Proof, pass};
use crate::authorize::{self, Caller, Denial};
use crate::gateway::Gateway;
use crate::metrics::Measure;
use crate::pipe;
use crate::service::{self, Work};
use crate::turn::Turn;
use crate::wire::Wire;
use path::{Address, Endpoint};
pub use tls::{ServiceName, Tls, TlsConfig, TlsFiles, TlsPair};

/// How long a client may take for its request's header.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Streams of one HTTP/2 connection.
const MAX_STREAMS: u32 = 64;
/// Bytes of an HTTP/2 request's header: room for the longest token.
const MAX_HEADERS: u32 = 32 << 10;

/// Why the server stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The socket failed.
    #[error("failed to serve: {0}")]
    Io(#[from] io::Error),
    /// The certificate or key cannot be used.
    #[error("failed to use the certificate {certificate}: {source}")]
    Tls {
        /// The certificate file.
        certificate: String,
        /// Why not.
        source: io::Error,
    },
}

/// Serves git clients until `stop`, then lets requests under way end within `grace`.
///
/// # Errors
/// When the socket or the certificate cannot be used.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Tls>,
    gateway: Arc<Gateway>,
    grace: Duration,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let layers = ServiceBuilder::new()
        .layer(Extension(lfs::Encrypted(tls.is_some())))
        .layer(RequestDecompressionLayer::new().gzip(true))
        .layer(MapRequestBodyLayer::new(Body::new));
    let patient = Patient(gateway.config.idle_timeout);
    let router = Router::new().fallback(handle).with_state(gateway).layer(layers);
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let handle = Handle::new();
    let (connections, stopping) = (handle.clone(), stop.clone());
    let shutdown = tokio::spawn(async move {
        stopping.cancelled().await;
        connections.graceful_shutdown(Some(grace));
    });
    let outcome = match tls {
        None => {
            let mut server = axum_server::from_tcp(listener)?.acceptor(patient).handle(handle);
            configure(server.http_builder());
            server.serve(service).await
        }
        Some(tls) => {
            let acceptor = RustlsAcceptor::new(RustlsConfig::from_config(tls.server_config())).acceptor(patient);
            let mut server = axum_server::from_tcp(listener)?.acceptor(acceptor).handle(handle);
            configure(server.http_builder());
            server.serve(service).await
        }
    };
    shutdown.abort();
    Ok(outcome?)
}

/// Takes connections, and gives up a client that takes nothing for this long.
#[derive(Clone)]
struct Patient(Duration);

impl<S> Accept<TcpStream, S> for Patient {
    type Stream = Wire;
    type Service = S;
    type Future = Ready<io::Result<(Wire, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        // Or the last packet of an answer waits for the client's delayed acknowledgement: 40 ms for each git command.
        ready(stream.set_nodelay(true).map(|()| (Wire::new(stream, self.0), service)))
    }
}

fn configure(builder: &mut hyper_util::server::conn::auto::Builder<hyper_util::rt::TokioExecutor>) {
    builder.http1().header_read_timeout(HEADER_TIMEOUT);
    builder
        .http2()
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADERS)
        .keep_alive_interval(HEADER_TIMEOUT);
}

/// Every request comes here.
async fn handle(
    State(gateway): State<Arc<Gateway>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let request_id = request_id(request.headers(), &gateway);
    let address = path::parse(request.uri().path(), request.uri().query());
    let verb = address.as_ref().map_or("other", |address| verb(address.endpoint, request.method()));
    let measure = gateway.metrics.begin("http", verb);
    let mut unanswered = Unanswered(Some(Arc::clone(&measure)));
    let mut response = match &address {
        Some(address) => route(&gateway, peer, address, request, &request_id, &measure).await,
        None => respond::not_a_repository(request.uri().path()),
    };
    if address.is_some_and(|address| matches!(address.endpoint, Endpoint::Lfs(_))) {
        response = lfs::dress(response, &request_id).await;
    }
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert("x-request-id", value);
    }
    let status = response.status();
    if let Some(outcome) = respond::failure(status) {
        measure.settle(outcome);
    }
    tracing::info!(
        request.id = request_id,
        verb = measure.verb(),
        status = status.as_u16(),
        source.ip = %peer.ip(),
        client.session_id = measure.session_id(),
        duration_ms = u64::try_from(measure.elapsed().as_millis()).unwrap_or(u64::MAX),
        "request answered"
    );
    unanswered.0 = None;
    response
}

/// A request whose client may leave before it is answered: then this is dropped.
struct Unanswered(Option<Arc<Measure>>);

impl Drop for Unanswered {
    fn drop(&mut self) {
        if let Some(measure) = &self.0 {
            measure.settle("aborted");
        }
    }
}

/// The client's own id, if it is harmless, else a new one.
fn request_id(headers: &HeaderMap, gateway: &Gateway) -> String {
    let given = headers.get("x-request-id").and_then(|value| value.to_str().ok());
    let harmless =
        |id: &&str| (8..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    given.filter(harmless).map_or_else(|| gateway.new_request_id(), str::to_owned)
}

async fn route(
    gateway: &Arc<Gateway>,
    peer: SocketAddr,
    address: &Address,
    request: Request,
    id: &str,
    measure: &Arc<Measure>,
) -> Response {
    // A body may not be shared between threads, so it stays apart while others are waited for.
    let (parts, body) = request.into_parts();
    if let Endpoint::Lfs(call) = address.endpoint {
        let asked = match identify(gateway, peer, address, &parts, id).await {
            Ok((path, caller)) => {
                lfs::Asked { gateway: Arc::clone(gateway), path, caller, measure: Arc::clone(measure) }
            }
            Err(response) => return *response,
        };
        return lfs::answer(asked, call, &parts, body).await;
    }
    match prepare(gateway, peer, address, &parts, id).await {
        Ok((config, caller, service)) => {
            let work = Work { gateway: Arc::clone(gateway), config, caller, measure: Arc::clone(measure) };
            dispatch(work, address.endpoint, service, &parts, body).await
        }
        Err(response) => *response,
    }
}

fn verb(endpoint: Endpoint, method: &Method) -> &'static str {
    match endpoint {
        Endpoint::Advertisement(Service::UploadPack) => "advertise-fetch",
        Endpoint::Advertisement(Service::ReceivePack) => "advertise-push",
        Endpoint::Rpc(Service::UploadPack) => "fetch",
        Endpoint::Rpc(Service::ReceivePack) => "push",
        Endpoint::Lfs(call) => call.verb(method),
        Endpoint::Dumb | Endpoint::UnknownService => "other",
    }
}

/// Authenticates and authorizes; what comes out may work on the repository.
async fn prepare(
    gateway: &Arc<Gateway>,
    peer: SocketAddr,
    address: &Address,
    request: &Parts,
    id: &str,
) -> Result<(Arc<RepositoryConfig>, Caller, Service), Box<Response>> {
    let (path, caller) = identify(gateway, peer, address, request, id).await?;
    let service = match address.endpoint {
        Endpoint::Advertisement(service) | Endpoint::Rpc(service) => service,
        Endpoint::Dumb | Endpoint::UnknownService | Endpoint::Lfs(_) => Service::UploadPack,
    };
    let action = match service {
        Service::UploadPack => Action::GitPull,
        Service::ReceivePack => Action::GitPush,
    };
    let config = admit(gateway, action, &path, &caller)?;
    Ok((config, caller, service))
}

/// Authenticates: who asks, and about which repository.
async fn identify(
    gateway: &Arc<Gateway>,
    peer: SocketAddr,
    address: &Address,
    request: &Parts,
    id: &str,
) -> Result<(RepositoryPath, Caller), Box<Response>> {
    let headers = &request.headers;
    let host = headers
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .or_else(|| request.uri.authority().map(http::uri::Authority::as_str));
    let about = address.namespace.clone().or_else(|| path::namespace_of_host(host?, &gateway.config));
    let authorization = headers.get(AUTHORIZATION);
    let (principal, proof) = match identity(gateway, authorization, address, about.as_ref()).await? {
        Identity::Known(principal, proof) => (principal, proof),
        Identity::Anonymous => (Principal::Anonymous, Proof::Nothing),
        Identity::Refused => return Err(respond::unauthorized().into()),
        Identity::Unavailable => {
            let text =
                "who you are cannot be told while the Kubernetes API server does not answer; try again in a minute\n";
            return Err(respond::unavailable(text.to_owned()).into());
        }
    };
    let namespace = about.or_else(|| principal.namespace().cloned());
    let anonymous = principal == Principal::Anonymous;
    let (Some(namespace), Some(name)) = (namespace, address.name.clone()) else {
        return Err(if anonymous { respond::unauthorized() } else { respond::no_such_name() }.into());
    };
    let path = RepositoryPath { namespace, name };
    let lists_only = gateway.is_operator(&principal);
    let caller = Caller { principal, proof, source: peer.ip().to_canonical(), request_id: id.to_owned(), lists_only };
    Ok((path, caller))
}

/// Who sends this header. Passes are for LFS only, and for one repository.
async fn identity(
    gateway: &Gateway,
    authorization: Option<&HeaderValue>,
    address: &Address,
    about: Option<&Namespace>,
) -> Result<Identity, Box<Response>> {
    let desired = gateway.desired();
    if let Some(pass) = authorization.and_then(pass::parse) {
        let is_lfs = matches!(address.endpoint, Endpoint::Lfs(_));
        let name = address.name.as_ref().filter(|_| is_lfs);
        let known = name.zip(gateway.passes.get());
        let known = known.and_then(|(name, passes)| passes.check(pass, (about, name), &desired));
        return Ok(known.map_or(Identity::Refused, |(principal, proof)| Identity::Known(principal, proof)));
    }
    let claim = Claim::parse(authorization).map_err(|()| respond::unauthorized())?;
    Ok(gateway.authenticator.check(claim, about, &desired).await)
}

/// Authorizes: gives the repository, if the caller may do this with it.
fn admit(
    gateway: &Gateway,
    action: Action,
    path: &RepositoryPath,
    caller: &Caller,
) -> Result<Arc<RepositoryConfig>, Box<Response>> {
    let admitted = authorize::admit(action, path, caller, &gateway.desired(), &gateway.metrics);
    admitted.map_err(|denial| {
        Box::new(match denial {
            // Nobody that we know: the answer is the same whether the repository exists or not.
            Denial::Hidden(_) | Denial::Forbidden(_) if caller.principal == Principal::Anonymous => {
                respond::unauthorized()
            }
            Denial::Hidden(text) => respond::text(StatusCode::NOT_FOUND, text),
            Denial::Forbidden(text) | Denial::Suspended(text) => respond::text(StatusCode::FORBIDDEN, text),
        })
    })
}

async fn dispatch(work: Work, endpoint: Endpoint, service: Service, parts: &Parts, body: Body) -> Response {
    let gateway = Arc::clone(&work.gateway);
    let protocol = parts.headers.get("git-protocol").and_then(|value| value.to_str().ok());
    let version = Version::from_header(protocol);
    match endpoint {
        Endpoint::Dumb | Endpoint::Lfs(_) => respond::text(
            StatusCode::FORBIDDEN,
            "this server speaks git's smart protocol only; unset GIT_SMART_HTTP\n".to_owned(),
        ),
        Endpoint::UnknownService => respond::text(
            StatusCode::FORBIDDEN,
            "unknown service: git-upload-pack and git-receive-pack are there\n".to_owned(),
        ),
        Endpoint::Advertisement(_) if parts.method != Method::GET => respond::method_not_allowed("GET"),
        Endpoint::Advertisement(_) => {
            let content_type = format!("application/x-{}-advertisement", service.name());
            answer::response(service::advertise(&work, service, version).await, &content_type, &work)
        }
        Endpoint::Rpc(_) if parts.method != Method::POST => respond::method_not_allowed("POST"),
        Endpoint::Rpc(_) => {
            let expected = format!("application/x-{}-request", service.name());
            if parts.headers.get(CONTENT_TYPE).is_none_or(|found| found.as_bytes() != expected.as_bytes()) {
                let text = format!("the content type of this request must be {expected}\n");
                return respond::text(StatusCode::UNSUPPORTED_MEDIA_TYPE, text);
            }
            let limit = match service {
                Service::UploadPack => gateway.config.max_request_bytes,
                // Commands and push options come before the pack.
                Service::ReceivePack => work.config.limits.pack_bytes.saturating_add(gateway.config.max_request_bytes),
            };
            let stream = body.into_data_stream().map_err(io::Error::other);
            let received = gateway.metrics.received_bytes.clone();
            let idle = gateway.config.idle_timeout;
            let input = |turn: &Turn| pipe::reader(stream, idle, limit, received, turn.lender());
            let answered = match service {
                Service::UploadPack => service::fetch(&work, version, input).await,
                Service::ReceivePack => service::push(&work, input).await,
            };
            answer::response(answered, &format!("application/x-{}-result", service.name()), &work)
        }
    }
}
