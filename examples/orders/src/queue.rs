//! A durable queue in a table: leased, acknowledged, retried, and after too many attempts set aside.
//!
//! A lease is a time until which nobody else gets the message; a worker that dies leaves it to the next. So a message is
//! delivered at least once, and whoever processes it must bear seeing it twice.

use std::time::Duration;

use skopos_sdk::messaging::MessageHeaders;
use skopos_sdk::sql_span;
use sqlx::sqlite::SqlitePool;
use sqlx::{Row as _, SqliteConnection};

pub(crate) const SYSTEM: &str = "sqlite";
/// The queue of orders to ship.
pub(crate) const SHIPMENTS: &str = "shipments";
/// How long a message belongs to the worker that took it.
pub(crate) const LEASE: Duration = Duration::from_secs(30);
/// Attempts until a message is set aside as dead.
pub(crate) const MAX_ATTEMPTS: u32 = 5;
/// Pause after the first failed attempt; doubled for each further.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// A message that was taken.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) id: i64,
    pub(crate) order_id: String,
    /// 1 for the first.
    pub(crate) attempt: u32,
    pub(crate) headers: MessageHeaders,
}

/// How full the queue is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Stats {
    pub(crate) ready: i64,
    pub(crate) dead: i64,
    /// Age of the oldest message that waits or is being processed.
    pub(crate) oldest_ms: i64,
}

/// Puts a message in, within the caller's transaction; it is due `delay` later.
pub(crate) async fn insert(
    connection: &mut SqliteConnection,
    order_id: &str,
    headers: MessageHeaders,
    now_ms: i64,
    delay: Duration,
) -> Result<(), sqlx::Error> {
    const INSERT: &str = "INSERT INTO queue (order_id, headers, available_ms, created_ms) VALUES (?, ?, ?, ?)";
    let headers = serde_json::to_string(&headers).map_err(|error| sqlx::Error::Encode(error.into()))?;
    sql_span(SYSTEM, INSERT, sqlx::query(INSERT).bind(order_id).bind(headers).bind(now_ms + millis(delay)).bind(now_ms).execute(connection)).await?;
    Ok(())
}

/// Takes the oldest message that is due, for [`LEASE`].
pub(crate) async fn lease(pool: &SqlitePool, now_ms: i64) -> Result<Option<Message>, sqlx::Error> {
    // Not a span: the worker looks several times a second, mostly in vain.
    let row = sqlx::query(
        "UPDATE queue SET attempts = attempts + 1, available_ms = ?
         WHERE id = (SELECT id FROM queue WHERE state = 'ready' AND available_ms <= ? ORDER BY available_ms, id LIMIT 1)
         RETURNING id, order_id, attempts, headers",
    )
    .bind(now_ms + millis(LEASE))
    .bind(now_ms)
    .fetch_optional(pool)
    .await?;
    row.map(|row| {
        let headers: String = row.try_get(3)?;
        Ok(Message {
            id: row.try_get(0)?,
            order_id: row.try_get(1)?,
            attempt: row.try_get(2)?,
            // Headers that cannot be read only lose the trace, not the message.
            headers: serde_json::from_str(&headers).unwrap_or_default(),
        })
    })
    .transpose()
}

/// The message is done.
pub(crate) async fn acknowledge(pool: &SqlitePool, message: &Message) -> Result<(), sqlx::Error> {
    const DELETE: &str = "DELETE FROM queue WHERE id = ?";
    sql_span(SYSTEM, DELETE, sqlx::query(DELETE).bind(message.id).execute(pool)).await?;
    Ok(())
}

/// The attempt failed: the message comes again later, or is set aside; says which (`true`: set aside).
pub(crate) async fn fail(pool: &SqlitePool, message: &Message, error: &str, now_ms: i64) -> Result<bool, sqlx::Error> {
    const UPDATE: &str = "UPDATE queue SET state = ?, available_ms = ?, last_error = ? WHERE id = ?";
    let dead = message.attempt >= MAX_ATTEMPTS;
    let pause = RETRY_PAUSE * 2u32.saturating_pow(message.attempt.saturating_sub(1).min(10));
    let statement = sqlx::query(UPDATE).bind(if dead { "dead" } else { "ready" }).bind(now_ms + millis(pause)).bind(error).bind(message.id);
    sql_span(SYSTEM, UPDATE, statement.execute(pool)).await?;
    Ok(dead)
}

/// How full the queue is at `now_ms`.
pub(crate) async fn stats(pool: &SqlitePool, now_ms: i64) -> Result<Stats, sqlx::Error> {
    let row = sqlx::query("SELECT COUNT(*) FILTER (WHERE state = 'ready'), COUNT(*) FILTER (WHERE state = 'dead'), MIN(created_ms) FILTER (WHERE state = 'ready') FROM queue")
        .fetch_one(pool)
        .await?;
    let oldest: Option<i64> = row.try_get(2)?;
    Ok(Stats { ready: row.try_get(0)?, dead: row.try_get(1)?, oldest_ms: oldest.map_or(0, |oldest| (now_ms - oldest).max(0)) })
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    async fn filled(folder: &tempfile::TempDir) -> SqlitePool {
        let pool = Store::open(&folder.path().join("orders.db")).await.unwrap().pool;
        let mut connection = pool.acquire().await.unwrap();
        insert(&mut connection, "a", MessageHeaders::from([("traceparent".to_owned(), "x".to_owned())]), 1_000, Duration::ZERO).await.unwrap();
        pool
    }

    #[tokio::test]
    async fn a_message_belongs_to_one_worker_until_its_lease_ends() {
        let folder = tempfile::tempdir().unwrap();
        let pool = filled(&folder).await;
        assert!(lease(&pool, 999).await.unwrap().is_none(), "not due");
        let message = lease(&pool, 1_000).await.unwrap().unwrap();
        assert_eq!((message.order_id.as_str(), message.attempt, message.headers["traceparent"].as_str()), ("a", 1, "x"));
        assert!(lease(&pool, 1_000 + millis(LEASE) - 1).await.unwrap().is_none(), "leased");
        let again = lease(&pool, 1_000 + millis(LEASE)).await.unwrap().unwrap();
        assert_eq!(again.attempt, 2, "the first worker died");
        acknowledge(&pool, &again).await.unwrap();
        assert_eq!(stats(&pool, 2_000).await.unwrap(), Stats { ready: 0, dead: 0, oldest_ms: 0 });
    }

    #[tokio::test]
    async fn a_message_that_fails_is_retried_later_and_set_aside_in_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let pool = filled(&folder).await;
        let mut now = 1_000;
        let mut pauses = Vec::new();
        loop {
            let message = lease(&pool, now).await.unwrap().unwrap();
            if fail(&pool, &message, "no truck", now).await.unwrap() {
                break;
            }
            let start = now;
            while lease_is_due(&pool, now).await.is_none() {
                now += 100;
            }
            pauses.push(now - start);
        }
        assert_eq!(pauses, [500, 1_000, 2_000, 4_000]);
        let stats = stats(&pool, now).await.unwrap();
        assert_eq!((stats.ready, stats.dead), (0, 1));
    }

    /// Whether a message is due, without taking it.
    async fn lease_is_due(pool: &SqlitePool, now_ms: i64) -> Option<i64> {
        let row = sqlx::query("SELECT id FROM queue WHERE state = 'ready' AND available_ms <= ?").bind(now_ms).fetch_optional(pool).await.unwrap();
        row.map(|row| row.get(0))
    }
}
