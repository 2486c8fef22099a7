//! One command: who asks for what, may they, and the conversation that is a fetch or a push.

use std::io::BufRead;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use git::advertise::{Service, Version};
use git::client::Client;
use git::upload_pack::{self, Command as Wanted};
use git::{archive, pktline};
use model::desired::DesiredState;
use model::policy::{Action, Principal};
use model::{ObjectFormat, RepositoryPath, SshPublicKey};
use russh::ChannelWriteHalf;
use russh::server::Msg;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::State;
use super::exec::{self, Exec, Verb};
use super::input::Input;
use super::output::{Gone, Output};
use crate::address::Named;
use crate::authn::Proof;
use crate::authn::pass::{self, Bearer};
use crate::authorize::{self, Caller};
use crate::gateway::Gateway;
use crate::metrics::Measure;
use crate::service::{self, Answer, Greeting, Trouble, Work, fetch, push};
use crate::turn::Turn;

/// The exit status of a command that failed, as git has it.
pub(super) const FAILED: u32 = 128;
/// How long a client may think between two things that it says: hooks run while a push is open, and packs are made. Nothing is held
/// meanwhile but the connection, and a client that is not there any more is noticed otherwise.
const PATIENCE: Duration = Duration::from_hours(1);
/// How long a command counts after its last byte was sent, for a server that stops to let the client hear it. Most clients hang up as
/// soon as they have; one that keeps its connection for the next command does not say that it has.
const HEARD: Duration = Duration::from_secs(10);

/// Most bytes of the arguments of an archive.
const MAX_ARCHIVE_REQUEST: u64 = 1 << 20;

/// A command to be run.
pub(super) struct Command {
    pub(super) gateway: Arc<Gateway>,
    pub(super) source: IpAddr,
    /// What the client has proven.
    pub(super) key: SshPublicKey,
    /// The command as it was sent.
    pub(super) line: Vec<u8>,
    /// `GIT_PROTOCOL`.
    pub(super) protocol: Option<String>,
    pub(super) running: Running,
}

/// Counts as running until dropped.
pub(super) struct Running(watch::Sender<State>);

impl Running {
    pub(super) fn begin(state: &watch::Sender<State>) -> Self {
        state.send_modify(|state| state.running += 1);
        Self(state.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.send_modify(|state| state.running -= 1);
    }
}

/// Why a command ends early.
enum End {
    /// The client reads this.
    Refused { line: String, outcome: &'static str },
    /// The client does not listen any more.
    Gone,
}

impl From<Gone> for End {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

fn refused(line: impl Into<String>, outcome: &'static str) -> End {
    End::Refused { line: line.into(), outcome }
}

/// What a client may do.
enum Admitted {
    Fetch,
    Archive,
    Push,
    /// Read this and go on over HTTP.
    Pass(Vec<u8>),
}

/// A command that may work on a repository, and the two ends of its channel.
struct Talk {
    gateway: Arc<Gateway>,
    work: Work,
    version: Version,
    input: Input,
    output: Output,
}

impl Command {
    /// Runs the command to its end, or until the client has gone.
    pub(super) async fn run(
        self,
        input: Input,
        channel: ChannelWriteHalf<Msg>,
        gone: CancellationToken,
        cut: CancellationToken,
    ) {
        let (gateway, started) = (Arc::clone(&self.gateway), Instant::now());
        let patience = gateway.config.idle_timeout;
        let (finished, sent) = (input.finished(), gateway.metrics.sent_bytes.clone());
        let output = Output { channel, gone, finished, patience, sent };
        let request_id = gateway.new_request_id();
        let exec = exec::parse(&self.line);
        let verb = exec.as_ref().map_or("other", |exec| verb(exec.verb));
        let measure = gateway.metrics.begin("ssh", verb);
        let (output, ended) = match self.admit(exec, &request_id, &measure) {
            Ok((work, wanted)) => {
                let version = Version::from_header(self.protocol.as_deref());
                let mut talk = Talk { gateway: Arc::clone(&gateway), work, version, input, output };
                let ended = match wanted {
                    Admitted::Fetch => talk.fetch().await,
                    Admitted::Archive => talk.archive().await,
                    Admitted::Push => talk.push().await,
                    Admitted::Pass(answer) => {
                        talk.output.answer(Answer::Whole(answer.into())).await.map(|()| 0).map_err(End::from)
                    }
                };
                (talk.output, ended)
            }
            Err(end) => (output, Err(end)),
        };
        let status = conclude(ended, &output, &request_id, &measure).await;
        tracing::info!(
            request.id = request_id,
            transport = "ssh",
            verb,
            status,
            source.ip = %self.source,
            key = self.key.fingerprint(),
            client.session_id = measure.session_id(),
            duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            "request answered"
        );
        // It is answered, whatever the client does next.
        drop(measure);
        if !output.gone.is_cancelled() {
            // Makes room for the next command.
            output.gone.cancel();
            let _ = tokio::time::timeout(HEARD, cut.cancelled()).await;
        }
        drop(self.running);
    }

    /// Lets the client work on what it names, or says why not.
    fn admit(
        &self,
        exec: Result<Exec, exec::ExecError>,
        request_id: &str,
        measure: &Arc<Measure>,
    ) -> Result<(Work, Admitted), End> {
        let Exec { verb, named } = exec.map_err(|error| refused(error.to_string(), "invalid"))?;
        let action = match verb {
            Verb::UploadPack | Verb::UploadArchive => Action::GitPull,
            Verb::ReceivePack => Action::GitPush,
            Verb::LfsAuthenticate(operation) => operation.action(),
        };
        let desired = self.gateway.desired();
        let (path, principal) = self.find(named, &desired)?;
        let caller = Caller {
            principal,
            proof: Proof::Key(self.key.clone()),
            source: self.source,
            request_id: request_id.to_owned(),
            lists_only: false,
        };
        let config = authorize::admit(action, &path, &caller, &desired, &self.gateway.metrics)
            .map_err(|denial| refused(denial.text().trim_end(), "denied"))?;
        let work = Work { gateway: Arc::clone(&self.gateway), config, caller, measure: Arc::clone(measure) };
        let admitted = match verb {
            Verb::UploadPack => Admitted::Fetch,
            Verb::UploadArchive => Admitted::Archive,
            Verb::ReceivePack => Admitted::Push,
            Verb::LfsAuthenticate(_) => Admitted::Pass(self.pass(&work)?),
        };
        Ok((work, admitted))
    }

    /// What git-lfs has to send over HTTP to be the same user, in its JSON. Without an address it takes that of the SSH remote.
    fn pass(&self, work: &Work) -> Result<Vec<u8>, End> {
        let Principal::LocalUser { namespace, name } = &work.caller.principal else {
            return Err(refused("only users with an SSH key come here", "error"));
        };
        let path = work.config.path.clone();
        let href = self
            .gateway
            .config
            .external_url
            .as_deref()
            .map(|url| format!("{}/{path}/info/lfs", url.trim_end_matches('/')));
        let bearer = Bearer { key: self.key.clone(), home: namespace.clone(), user: name.clone(), path };
        let issued = self.gateway.passes.get().and_then(|passes| passes.issue(&bearer));
        let (header, expires) = issued.ok_or_else(|| refused("there is no host key to make a pass with", "error"))?;
        let mut answer = serde_json::json!({
            "header": {"Authorization": header},
            "expires_at": expires.to_string(),
            "expires_in": pass::LIFETIME.as_secs(),
        });
        if let Some(href) = href {
            answer["href"] = href.into();
        }
        Ok(answer.to_string().into_bytes())
    }

    /// What is named, and who the client is there: a key may be that of users of several namespaces.
    fn find(&self, named: Option<Named>, desired: &DesiredState) -> Result<(RepositoryPath, Principal), End> {
        // It may have been taken back since the connection began.
        let users = desired.ssh_keys.users(&self.key);
        let users = users.ok_or_else(|| refused("this key is not accepted any more", "unauthenticated"))?;
        let Some(Named { namespace, name: Some(name) }) = named else {
            let line = "there is no such repository: addresses look like ssh://git@HOST/NAMESPACE/REPOSITORY";
            return Err(refused(line, "denied"));
        };
        let own = match &namespace {
            Some(namespace) => users.get_key_value(namespace),
            None if users.len() > 1 => {
                let line = "this key is that of users of several namespaces; write /NAMESPACE/REPOSITORY instead of /v1/repos/REPOSITORY";
                return Err(refused(line, "invalid"));
            }
            None => None,
        };
        // A stranger is one of their own namespace, and gets what everybody gets.
        let known = own.or_else(|| users.iter().next());
        let (home, user) = known.ok_or_else(|| refused("this key is not accepted any more", "unauthenticated"))?;
        let path = RepositoryPath { namespace: namespace.unwrap_or_else(|| home.clone()), name };
        Ok((path, Principal::LocalUser { namespace: home.clone(), name: user.clone() }))
    }
}

fn verb(verb: Verb) -> &'static str {
    match verb {
        Verb::UploadPack => "advertise-fetch",
        Verb::ReceivePack => "advertise-push",
        Verb::LfsAuthenticate(_) => "lfs-authenticate",
        Verb::UploadArchive => "archive",
    }
}

/// Tells the client how it went; gives the exit status.
async fn conclude(ended: Result<u32, End>, output: &Output, request_id: &str, measure: &Measure) -> u32 {
    let status = match ended {
        Ok(status) => status,
        Err(End::Gone) => {
            measure.settle("aborted");
            return FAILED;
        }
        Err(End::Refused { line, outcome }) => {
            measure.settle(outcome);
            // Who does not hear it has gone.
            let _ = output.say(&format!("{line} (request {request_id})")).await;
            FAILED
        }
    };
    let _ = output.end(status).await;
    status
}

impl Talk {
    /// The same work, measured as what the client asks for next.
    fn next_work(&self, verb: &'static str) -> Work {
        Work { measure: self.gateway.metrics.begin("ssh", verb), ..self.work.clone() }
    }

    fn trouble(trouble: &Trouble, work: &Work) -> End {
        let line = trouble.text().to_owned();
        work.measure.settle(trouble.outcome());
        refused(line, trouble.outcome())
    }

    /// A turn, which others have while the client does not send.
    async fn turn(&mut self, work: &Work) -> Result<Turn, End> {
        let turn = work.turn().await.map_err(|trouble| Self::trouble(&trouble, work))?;
        self.input.lend(&turn);
        Ok(turn)
    }

    /// Reads from the client on a blocking thread.
    async fn read<T: Send + 'static>(
        &mut self,
        most: u64,
        read: impl FnOnce(&mut dyn BufRead) -> T + Send + 'static,
    ) -> Result<T, End> {
        self.input.allow(most);
        let mut input = self.input.take();
        let (value, input) = service::blocking(&self.work, move || {
            let value = read(&mut input);
            Ok((value, input))
        })
        .await
        .map_err(|trouble| Self::trouble(&trouble, &self.work))?;
        self.input = input;
        Ok(value)
    }

    /// Reads what a client wants, and what it says of itself.
    async fn hear<T: Send + 'static>(
        &mut self,
        parse: impl FnOnce(&mut dyn BufRead, ObjectFormat, &mut Client) -> T + Send + 'static,
    ) -> Result<T, End> {
        let format = self.work.config.object_format;
        let read = move |input: &mut dyn BufRead| {
            let mut client = Client::default();
            (parse(input, format, &mut client), client)
        };
        let (asked, client) = self.read(self.gateway.config.max_request_bytes, read).await?;
        self.work.measure.hear(&client);
        Ok(asked)
    }

    /// Fetches; gives the exit status.
    async fn fetch(&mut self) -> Result<u32, End> {
        if self.version == Version::V2 { self.commands().await } else { self.conversation().await }
    }

    /// Version 2: commands until the client has had enough.
    async fn commands(&mut self) -> Result<u32, End> {
        self.output.answer(service::capabilities(&self.work).await).await?;
        while self.input.wait(PATIENCE).await {
            let turn = self.turn(&self.work.clone()).await?;
            let command = self.hear(upload_pack::parse_v2).await?;
            if matches!(command, Ok(Wanted::Nothing)) {
                break;
            }
            let work = self.next_work("fetch");
            let answer = fetch::answer(&work, turn, command).await.unwrap_or_else(|trouble| {
                work.measure.settle(trouble.outcome());
                Answer::Whole(pktline::error_line(&trouble.line(&work)).into())
            });
            self.output.answer(answer).await?;
            if work.measure.trouble().is_some() {
                return Ok(FAILED);
            }
        }
        Ok(0)
    }

    /// Versions 0 and 1: an advertisement, then one conversation about it.
    async fn conversation(&mut self) -> Result<u32, End> {
        let greeting = service::greet(&self.work, Service::UploadPack, self.version).await;
        let Greeting { answer, moment, .. } = greeting.map_err(|trouble| Self::trouble(&trouble, &self.work))?;
        self.output.answer(answer).await?;
        if !self.input.wait(PATIENCE).await {
            return Ok(0);
        }
        let turn = self.turn(&self.work.clone()).await?;
        let wants = self.hear(upload_pack::parse_wants_v0).await?;
        let work = self.next_work("fetch");
        let answer = match wants {
            Ok(None) => return Ok(0),
            Ok(Some(request)) => {
                self.input.allow(u64::MAX);
                let input = Box::new(self.input.take());
                fetch::converse(&work, turn, moment, request, input).await
            }
            Err(error) => Ok(fetch::refuse(&error, &work)),
        };
        let answer = answer.map_err(|trouble| Self::trouble(&trouble, &work))?;
        self.output.answer(answer).await?;
        Ok(status(&work))
    }

    /// Makes an archive; gives the exit status.
    async fn archive(&mut self) -> Result<u32, End> {
        let turn = self.turn(&self.work.clone()).await?;
        let request = self.read(MAX_ARCHIVE_REQUEST, |input| archive::parse(input)).await?;
        let request = request.map_err(|error| refused(error.to_string(), "invalid"))?;
        let answer = fetch::archive(&self.work, turn, request).await;
        let answer = answer.map_err(|trouble| Self::trouble(&trouble, &self.work))?;
        self.output.answer(answer).await?;
        Ok(status(&self.work))
    }

    /// Pushes; gives the exit status.
    async fn push(&mut self) -> Result<u32, End> {
        // Pushing has no version 2.
        let greeting = service::greet(&self.work, Service::ReceivePack, self.version).await;
        let Greeting { answer, nonce, .. } = greeting.map_err(|trouble| Self::trouble(&trouble, &self.work))?;
        self.output.answer(answer).await?;
        if !self.input.wait(PATIENCE).await {
            return Ok(0);
        }
        let mut turn = self.turn(&self.work.clone()).await?;
        let work = self.next_work("push");
        let reading = work.clone();
        let request = self
            .read(self.gateway.config.max_request_bytes, move |input| push::parse(input, &reading, nonce.as_deref()))
            .await?;
        self.work
            .measure
            .hear(&Client { session_id: work.measure.session_id().map(str::to_owned), ..Client::default() });
        match &request {
            Ok(None) => return Ok(0),
            Ok(Some(request)) if request.pack_follows => {
                // The client makes the pack now, which may take it minutes; others work meanwhile.
                drop(turn);
                if !self.input.wait(PATIENCE).await {
                    return Err(refused("the pack did not come; nothing was changed, push again", "aborted"));
                }
                turn = self.turn(&work).await?;
            }
            Ok(Some(_)) | Err(_) => {}
        }
        self.input.allow(work.config.limits.pack_bytes.saturating_add(self.gateway.config.max_request_bytes));
        let input = Box::new(self.input.take());
        let answer = push::take(&work, turn, request, input).await;
        let answer = answer.map_err(|trouble| Self::trouble(&trouble, &work))?;
        self.output.answer(answer).await?;
        Ok(status(&work))
    }
}

/// The exit status of work that is done. References that were refused are in the report, as git has it.
fn status(work: &Work) -> u32 {
    match work.measure.trouble() {
        None | Some("refused") => 0,
        Some(_) => FAILED,
    }
}
