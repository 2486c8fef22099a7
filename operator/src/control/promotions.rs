//! Promotions that the controller asks for. One may take as long as copying does: whoever asks gets the outcome if it comes soon, and asks
//! again otherwise.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use controllers::control::{PromotionAnswer, PromotionQuestion};
use model::RepositoryPath;
use store::{Loss, PromoteError, Repositories};
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Control, Operator, Refusal};

/// How long a question waits for the outcome.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long an outcome is kept that nobody has asked for.
const KEPT: Duration = Duration::from_mins(1);

type Outcome = Result<PromotionAnswer, Refusal>;

/// Promotions that this server makes, and what became of those that ended.
#[derive(Clone, Default)]
pub(crate) struct Promotions(Arc<Mutex<BTreeMap<RepositoryPath, Promotion>>>);

struct Promotion {
    question: PromotionQuestion,
    outcome: watch::Receiver<Option<(Outcome, Instant)>>,
}

/// `POST /promotions`.
pub(super) async fn promote(
    _: Operator,
    State(control): State<Control>,
    Json(question): Json<PromotionQuestion>,
) -> Result<Json<PromotionAnswer>, Refusal> {
    let path = RepositoryPath { namespace: question.namespace.clone(), name: question.repository_name.clone() };
    let config = control.view.borrow().desired.repositories.get(&path).cloned();
    let config =
        config.ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, "this server does not know the Repository"))?;
    let store = control.stores.get(&config.store).cloned();
    let store = store.ok_or_else(|| Refusal::no_store(&config.store))?;
    control.promotions.ask(&path, &question, store).await.map(Json)
}

impl Promotions {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<RepositoryPath, Promotion>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The outcome of a promotion, or that it takes longer.
    async fn ask(&self, path: &RepositoryPath, question: &PromotionQuestion, store: Arc<Repositories>) -> Outcome {
        let mut outcome = self.of(path, question, store);
        let came = tokio::time::timeout(PATIENCE, outcome.wait_for(Option::is_some)).await;
        let Some((outcome, _)) = came.ok().and_then(|came| came.ok()?.clone()) else {
            return Err(Refusal::new(StatusCode::ACCEPTED, "the promotion is under way; ask again"));
        };
        self.lock().remove(path);
        outcome
    }

    /// The promotion that is asked for: the one under way, or a new one. It goes on when nobody waits for it any more.
    fn of(
        &self,
        path: &RepositoryPath,
        question: &PromotionQuestion,
        store: Arc<Repositories>,
    ) -> watch::Receiver<Option<(Outcome, Instant)>> {
        let mut all = self.lock();
        all.retain(|_, one| one.outcome.borrow().as_ref().is_none_or(|(_, ended)| ended.elapsed() < KEPT));
        if let Some(known) = all.get(path).filter(|known| known.question == *question) {
            return known.outcome.clone();
        }
        let (told, outcome) = watch::channel(None);
        all.insert(path.clone(), Promotion { question: question.clone(), outcome: outcome.clone() });
        let (path, to) = (path.clone(), question.to.clone());
        let loss = if question.accept_loss { Loss::Accept } else { Loss::Refuse };
        tokio::spawn(async move {
            let outcome = store.promote(&path, &to, loss).await;
            told.send_replace(Some((answer(&path, outcome), Instant::now())));
        });
        outcome
    }
}

fn answer(path: &RepositoryPath, outcome: Result<store::Promotion, PromoteError>) -> Outcome {
    let store::Promotion { epoch, primary, generation, was, is_new, left_behind } =
        outcome.map_err(|error| match error {
            PromoteError::Unknown(_) => Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()),
            PromoteError::Unsafe(_) => Refusal::new(StatusCode::CONFLICT, error.to_string()),
            PromoteError::Failed(error) => Refusal::of_store(&error),
        })?;
    if is_new {
        tracing::warn!(repo.name = %path, store = primary, epoch, generation, left_behind, "promoted, as the controller asked");
    }
    Ok(PromotionAnswer { primary, epoch, generation, was, is_new, left_behind })
}

#[cfg(test)]
mod tests;
