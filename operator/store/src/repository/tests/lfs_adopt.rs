//! LFS objects that clients sent to the bucket themselves: visible once they were read and are what they should be.

use futures::TryStreamExt as _;
use model::RepositoryId;
use model::clock::SystemRandom;
use model::lfs::Oid;

use super::Server;
use crate::digest::sha256;
use crate::testing::MemoryStore;
use crate::{Adopted, LfsObjects, ObjectStore as _, keys};

struct Bed {
    store: MemoryStore,
    id: RepositoryId,
    objects: LfsObjects,
    _server: Server,
}

impl Bed {
    fn new() -> Self {
        let (store, id) = (MemoryStore::default(), RepositoryId::random(&SystemRandom));
        let server = Server::new(store.clone());
        Self { store, objects: server.repositories.lfs(&id), id, _server: server }
    }

    /// As a client that was let to.
    async fn send(&self, oid: &Oid, life: u32, content: &[u8]) {
        self.store.put(&keys::lfs(&self.id, oid, life), content.to_vec().into()).await.unwrap();
    }

    async fn read(&self, oid: &Oid) -> Vec<u8> {
        let object = self.objects.find(oid).await.unwrap().unwrap();
        let size = object.size();
        self.objects.read(object, 0..size).try_collect::<Vec<_>>().await.unwrap().concat()
    }
}

/// Longer than two pieces, and not a whole number of chunks.
fn content() -> (Vec<u8>, Oid) {
    let content: Vec<u8> = (0..9_000_001_usize).map(|at| u8::try_from((at * 7 + at / 251) % 256).unwrap()).collect();
    let oid = Oid::of(sha256(&content));
    (content, oid)
}

#[tokio::test]
async fn what_is_what_it_should_be_becomes_visible() {
    let (bed, (content, oid)) = (Bed::new(), content());
    let size = content.len() as u64;
    assert_eq!(bed.objects.adopt(oid, size).await.unwrap(), Adopted::Missing);
    bed.send(&oid, 0, &content).await;
    assert!(bed.objects.find(&oid).await.unwrap().is_none(), "it is visible before anybody looked at it");
    // A client that gets no answer asks again.
    let (first, second) = tokio::join!(bed.objects.adopt(oid, size), bed.objects.adopt(oid, size));
    let object = bed.objects.find(&oid).await.unwrap().unwrap();
    assert_eq!((first.unwrap(), second.unwrap()), (Adopted::Kept(object.clone()), Adopted::Kept(object)));
    assert!(bed.read(&oid).await == content);
    assert_eq!(bed.objects.check().await.unwrap(), (1, vec![]));
    // The sums are those that an upload through us makes.
    let other = Bed::new();
    other.objects.keep(other.objects.receive(oid, size, &mut &*content).unwrap()).await.unwrap();
    assert_eq!(other.objects.find(&oid).await.unwrap(), bed.objects.find(&oid).await.unwrap());
}

#[tokio::test]
async fn what_is_something_else_stays_invisible() {
    let (bed, (mut content, oid)) = (Bed::new(), content());
    let size = content.len() as u64;
    content[8_000_000] ^= 1;
    bed.send(&oid, 0, &content).await;
    let Adopted::Wrong(reason) = bed.objects.adopt(oid, size).await.unwrap() else { panic!("it was taken") };
    assert!(reason.contains(&Oid::of(sha256(&content)).to_string()), "{reason}");
    content[8_000_000] ^= 1;
    for other in [&content[1..], &[&*content, b"x"].concat()] {
        bed.send(&oid, 0, other).await;
        assert!(matches!(bed.objects.adopt(oid, size).await.unwrap(), Adopted::Wrong(_)));
    }
    assert!(bed.objects.find(&oid).await.unwrap().is_none());
    // What comes through us takes its place.
    bed.objects.keep(bed.objects.receive(oid, size, &mut &*content).unwrap()).await.unwrap();
    assert!(bed.read(&oid).await == content);
}

#[tokio::test]
async fn an_empty_object_is_never_made_of_nothing() {
    let (bed, oid) = (Bed::new(), Oid::of(sha256(b"")));
    assert_eq!(bed.objects.adopt(oid, 0).await.unwrap(), Adopted::Missing);
}

#[tokio::test]
async fn what_came_to_a_life_that_was_given_up_is_to_be_sent_again() {
    let (bed, (content, oid)) = (Bed::new(), content());
    let size = content.len() as u64;
    bed.send(&oid, 0, &content).await;
    bed.objects.end(&oid, 0).await.unwrap();
    assert_eq!(bed.objects.adopt(oid, size).await.unwrap(), Adopted::Missing);
    bed.send(&oid, 1, &content).await;
    assert!(matches!(bed.objects.adopt(oid, size).await.unwrap(), Adopted::Kept(_)));
    assert!(bed.read(&oid).await == content);
}

#[tokio::test]
async fn what_clients_were_let_to_send_counts_until_it_is_there() {
    let (bed, (content, oid)) = (Bed::new(), content());
    let size = content.len() as u64;
    assert_eq!(bed.objects.usage().await, Some(0));
    assert!(bed.objects.promise(&oid, size) && bed.objects.promise(&oid, size));
    assert_eq!((bed.objects.usage().await, bed.objects.promised(&oid)), (Some(size), size));
    bed.send(&oid, 0, &content).await;
    assert!(matches!(bed.objects.adopt(oid, size).await.unwrap(), Adopted::Kept(_)));
    assert_eq!((bed.objects.usage().await, bed.objects.promised(&oid)), (Some(size), 0));
    // Whoever lists it again counts what nobody has said to be complete.
    let other = Oid::of([7; 32]);
    bed.send(&other, 0, b"half").await;
    let second = Server::new(bed.store.clone());
    assert_eq!(second.repositories.lfs(&bed.id).usage().await, Some(size + 4));
}
