//! Asks the API server who a token is.

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kube::api::{Api, PostParams};
use model::secret::SecretString;

/// The user name and groups of a token that holds for one of `audiences` (for the API server itself when empty); none when it does
/// not hold.
///
/// # Errors
/// When the API server does not answer.
pub async fn review_token(
    client: &kube::Client,
    audiences: &[String],
    token: &SecretString,
) -> Result<Option<(String, Vec<String>)>, kube::Error> {
    let spec = TokenReviewSpec { audiences: Some(audiences.to_vec()), token: Some(token.expose().to_owned()) };
    let review = TokenReview { spec, ..TokenReview::default() };
    let api: Api<TokenReview> = Api::all(client.clone());
    let status = api.create(&PostParams::default(), &review).await?.status.unwrap_or_default();
    let for_us = audiences.is_empty() || status.audiences.iter().flatten().any(|audience| audiences.contains(audience));
    let user = status.user.filter(|_| status.authenticated == Some(true) && for_us);
    Ok(user.and_then(|user| Some((user.username?, user.groups.unwrap_or_default()))))
}
