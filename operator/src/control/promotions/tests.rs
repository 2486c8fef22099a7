use std::path::Path;

use clap::Parser as _;
use controllers::Folder;
use prometheus::Registry;
use tempfile::TempDir;

use super::*;
use crate::args::{Args, Command};
use crate::stores::{self, Opening, Stores};

const REPOSITORY: &str = "apiVersion: codekeep.dev/v1alpha1\nkind: Repository\nmetadata: {name: hello, namespace: team-a}\n\
                          spec: {replication: {stores: [far]}}\n";

/// Two stores, and a repository in both.
async fn bed(folder: &Path) -> (Stores, RepositoryPath) {
    std::fs::create_dir(folder.join("manifests")).unwrap();
    std::fs::write(folder.join("manifests/hello.yaml"), REPOSITORY).unwrap();
    let of = |name: &str| folder.join(name).display().to_string();
    let (cache, near, far) = (of("cache"), format!("file:{}", of("near")), format!("far=file:{}", of("far")));
    let flags = ["codekeep", "serve", "--cache", &cache, "--store", &near, "--store", &far];
    let Command::Serve(args) = Args::try_parse_from(flags).unwrap().command else { unreachable!("it was asked for") };
    let loaded = Folder::new(folder.join("manifests"), args.stores.names()).load().unwrap();
    let (_, desired) = watch::channel(Arc::new(loaded.desired));
    let opening = Opening { desired: Some(desired), ..Opening::default() };
    let stores = stores::open(&args.stores, &Registry::new(), opening).await.unwrap();
    let path: RepositoryPath = "team-a/hello".parse().unwrap();
    let store = &stores["default"];
    store.open(&store.find_or_create(&path).await.unwrap()).await.unwrap();
    (stores, path)
}

fn question(path: &RepositoryPath, to: &str, accept_loss: bool) -> PromotionQuestion {
    let (namespace, repository_name) = (path.namespace.clone(), path.name.clone());
    PromotionQuestion { namespace, repository_name, to: to.to_owned(), accept_loss }
}

/// Asks as the controller does, again and again.
async fn outcome(promotions: &Promotions, question: &PromotionQuestion, stores: &Stores) -> Outcome {
    let path: RepositoryPath = "team-a/hello".parse().unwrap();
    for _ in 0..20 {
        match promotions.ask(&path, question, Arc::clone(&stores["default"])).await {
            Err(Refusal(StatusCode::ACCEPTED, _)) => {}
            outcome => return outcome,
        }
    }
    panic!("it took too long");
}

#[tokio::test]
async fn a_promotion_is_made_once_however_often_it_is_asked_for() {
    let (folder, promotions) = (TempDir::new().unwrap(), Promotions::default());
    let (stores, path) = bed(folder.path()).await;
    let asked = question(&path, "far", false);
    let (one, other) = tokio::join!(outcome(&promotions, &asked, &stores), outcome(&promotions, &asked, &stores));
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!((one.primary.as_str(), one.epoch, one.was.as_deref()), ("far", 1, Some("default")));
    assert_eq!(one, other, "both asked about the same one");
    let again = outcome(&promotions, &asked, &stores).await.unwrap();
    assert_eq!((again.epoch, again.is_new), (1, false));
    let refused = outcome(&promotions, &question(&path, "fra", false), &stores).await.unwrap_err();
    assert_eq!(refused.0, StatusCode::UNPROCESSABLE_ENTITY, "{}", refused.1);
    let back = outcome(&promotions, &question(&path, "default", false), &stores).await.unwrap();
    assert_eq!((back.primary.as_str(), back.epoch, back.left_behind), ("default", 2, Some(0)));
}

#[tokio::test]
async fn what_could_lose_pushes_is_a_conflict_until_that_is_accepted() {
    let (folder, promotions) = (TempDir::new().unwrap(), Promotions::default());
    let (stores, path) = bed(folder.path()).await;
    stores["default"].replicate(&path).await.unwrap();
    let near = folder.path().join("near");
    let copied = async {
        while !stores["far"].find(&path).await.is_ok_and(|found| found.is_some()) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), copied).await.unwrap();
    std::fs::rename(&near, folder.path().join("lost")).unwrap();
    std::fs::write(&near, "no store").unwrap();
    let refused = outcome(&promotions, &question(&path, "far", false), &stores).await.unwrap_err();
    assert_eq!(refused.0, StatusCode::CONFLICT, "{}", refused.1);
    let accepted = outcome(&promotions, &question(&path, "far", true), &stores).await.unwrap();
    assert_eq!((accepted.primary.as_str(), accepted.left_behind), ("far", None));
}
