//! What a client has proven itself with. It is looked at again before something is committed: a pack takes as long as its client likes,
//! and a credential may be taken back meanwhile.

use std::sync::Arc;

use model::SshPublicKey;
use model::desired::{Credential, DesiredState};
use model::policy::Principal;
use model::secret::SecretString;

use super::{Authenticator, Identity};

/// What was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Proof {
    /// Nothing.
    Nothing,
    /// The password of this credential.
    Password(Arc<Credential>),
    /// This key, or a pass that was given for it.
    Key(SshPublicKey),
    /// A token of the cluster.
    Token(SecretString),
}

const TAKEN_BACK: &str = "the credential of this push was taken back, changed or expired meanwhile";

impl Proof {
    /// Whether it still proves that somebody is this principal; `Err` holds what the client reads. A token is reviewed again only if that
    /// was long ago.
    pub(crate) async fn holds(
        &self,
        principal: &Principal,
        authenticator: &Authenticator,
        desired: &DesiredState,
    ) -> Result<(), &'static str> {
        let holds = match (self, principal) {
            (Self::Nothing, principal) => *principal == Principal::Anonymous,
            // The whole of it: another password is another credential.
            (Self::Password(credential), _) => {
                desired.credentials.get(&credential.namespace).is_some_and(|all| all.contains(credential))
            }
            (Self::Key(key), Principal::LocalUser { namespace, name }) => {
                desired.ssh_keys.users(key).and_then(|users| users.get(namespace)) == Some(name)
            }
            (Self::Key(_), _) => false,
            (Self::Token(token), _) => match authenticator.review(token).await {
                Identity::Known(now, _) if now == *principal => true,
                Identity::Known(..) => return Err("who you are has changed meanwhile; push again"),
                Identity::Unavailable => {
                    return Err("who you are cannot be told while the Kubernetes API server is away; push again");
                }
                Identity::Refused | Identity::Anonymous => false,
            },
        };
        if holds { Ok(()) } else { Err(TAKEN_BACK) }
    }
}
