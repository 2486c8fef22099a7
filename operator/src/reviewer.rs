//! Who reviews tokens: the API server, or for a dedicated server the pool.

use async_trait::async_trait;
use gateway::{ReviewUnavailable, TokenIdentity, TokenReviewer, claims};
use model::secret::SecretString;

/// The API server.
pub(crate) struct ApiReviewer {
    pub(crate) client: kube::Client,
    /// Audiences of tokens that are meant for us.
    pub(crate) audiences: Vec<String>,
    /// Whether tokens for the API server itself are good too.
    pub(crate) accept_api_server: bool,
}

#[async_trait]
impl TokenReviewer for ApiReviewer {
    async fn review(&self, token: &SecretString) -> Result<Option<TokenIdentity>, ReviewUnavailable> {
        // Which of the two to ask about is read from the token; whether it is true is the API server's to say.
        let audiences = if self.is_for_us(token) {
            &self.audiences[..]
        } else if self.accept_api_server {
            &[]
        } else {
            return Ok(None);
        };
        match controllers::review_token(&self.client, audiences, token).await {
            Ok(found) => Ok(found.map(|(username, groups)| TokenIdentity { username, groups })),
            Err(error) => {
                tracing::warn!(%error, "failed to have a token reviewed");
                Err(ReviewUnavailable)
            }
        }
    }
}

impl ApiReviewer {
    fn is_for_us(&self, token: &SecretString) -> bool {
        let claims = claims(token.expose()).unwrap_or_default();
        let is_ours = |audience: &serde_json::Value| self.audiences.iter().any(|ours| audience == ours);
        let audience = &claims["aud"];
        is_ours(audience) || audience.as_array().is_some_and(|all| all.iter().any(is_ours))
    }
}

/// The pool.
pub(crate) struct PoolReviewer(pub(crate) std::sync::Arc<controllers::PoolClient>);

#[async_trait]
impl TokenReviewer for PoolReviewer {
    async fn review(&self, token: &SecretString) -> Result<Option<TokenIdentity>, ReviewUnavailable> {
        match self.0.review(token).await {
            Ok(answer) => Ok(answer.username.map(|username| TokenIdentity { username, groups: answer.groups })),
            Err(error) => {
                tracing::warn!(%error, "failed to have a token reviewed by the pool");
                Err(ReviewUnavailable)
            }
        }
    }
}
