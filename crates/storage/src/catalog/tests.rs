//! Documents and the journal.

use serde_json::json;

use super::*;
use crate::state::{Expect, JournalQuery, StateError, StateStore, StateWrite};

async fn state(folder: &Path) -> StateStore {
    let database = Database::open(&folder.join("catalog.sqlite"), &folder.join("tables"), Durability::Full, 0).await.expect("opened");
    StateStore::new(std::sync::Arc::new(database))
}

fn entry(reference: &str, at: i64) -> StateWrite {
    StateWrite::Journal { kind: "alert".to_owned(), reference: reference.to_owned(), at, body: json!({"at": at}) }
}

#[tokio::test]
async fn documents_have_versions_and_come_back() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = state(folder.path()).await;
    assert_eq!(store.put("silence", "a", json!({"n": 1}), Expect::Absent, 5).await.expect("written"), 1);
    assert_eq!(store.put("silence", "a", json!({"n": 2}), Expect::Version(1), 6).await.expect("written"), 2);
    assert_eq!(store.put("silence", "b", json!([]), Expect::Any, 7).await.expect("written"), 1);
    for (expect, found) in [(Expect::Absent, 2), (Expect::Version(1), 2)] {
        match store.put("silence", "a", json!(0), expect, 8).await {
            Err(StateError::Conflict { expected, found: f, .. }) => assert_eq!((expected, f), (expect, found)),
            other => panic!("{other:?}"),
        }
    }
    let store = state(folder.path()).await;
    let a = store.get("silence", "a").await.expect("read").expect("there");
    assert_eq!((a.version, a.updated, a.body), (2, 6, json!({"n": 2})));
    let keys: Vec<String> = store.list("silence").await.expect("read").into_iter().map(|d| d.key).collect();
    assert_eq!(keys, ["a", "b"]);
    store.delete("silence", "a", Expect::Version(2), 9).await.expect("removed");
    store.delete("silence", "a", Expect::Any, 9).await.expect("removing again is no error");
    assert_eq!(store.get("silence", "a").await.expect("read"), None);
}

#[tokio::test]
async fn a_transaction_happens_as_a_whole_or_not_at_all() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = state(folder.path()).await;
    let put = |key: &str, expect| StateWrite::Put { kind: "alert".to_owned(), key: key.to_owned(), body: json!(key), expect };
    let results = store.commit(vec![put("a", Expect::Absent), entry("a", 1), entry("b", 2)], 0).await.expect("written");
    assert_eq!(results, [1, 1, 2]);
    let refused = store.commit(vec![put("b", Expect::Any), entry("c", 3), put("a", Expect::Absent)], 0).await;
    assert!(matches!(refused, Err(StateError::Conflict { .. })), "{refused:?}");
    assert_eq!(store.get("alert", "b").await.expect("read"), None);
    assert_eq!(store.journal(JournalQuery::default()).await.expect("read").len(), 2);
}

#[tokio::test]
async fn the_journal_is_read_by_what_it_is_about_and_when() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = state(folder.path()).await;
    store.commit((0..10).map(|i| entry(if i % 2 == 0 { "even" } else { "odd" }, i)).collect(), 0).await.expect("written");
    let read = |query| {
        let entries = store.journal(query);
        async move { entries.await.expect("read").into_iter().map(|e| e.at).collect::<Vec<_>>() }
    };
    let all = JournalQuery::default();
    assert_eq!(read(JournalQuery { reference: Some("even".to_owned()), ..all.clone() }).await, [0, 2, 4, 6, 8]);
    assert_eq!(read(JournalQuery { from: 3, until: 6, ..all.clone() }).await, [3, 4, 5]);
    assert_eq!(read(JournalQuery { after: 8, ..all.clone() }).await, [8, 9]);
    assert_eq!(read(JournalQuery { backward: true, limit: 2, ..all.clone() }).await, [9, 8]);
    assert_eq!(read(JournalQuery { kind: Some("incident".to_owned()), ..all }).await, [0; 0]);
}
