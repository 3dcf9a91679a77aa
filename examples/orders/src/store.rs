//! The database: orders, and the queue's table beside them so that both change in one transaction.

use std::path::Path;
use std::time::Duration;

use skopos_sdk::messaging::{self, MessageHeaders};
use skopos_sdk::sql_span;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow, SqliteSynchronous};
use sqlx::{Connection as _, Row as _, SqliteConnection};

use crate::order::Order;
use crate::queue;

const SYSTEM: &str = "sqlite";
/// Connections of one process.
const MAX_CONNECTIONS: u32 = 8;
/// How long a statement waits for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a request waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long an order can still be cancelled before its shipment is due.
const SHIP_AFTER: Duration = Duration::from_secs(2);
/// Orders in one list.
pub(crate) const MAX_LISTED: i64 = 50;

const SCHEMA: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS orders (
        id TEXT PRIMARY KEY, user_id TEXT NOT NULL, sku TEXT NOT NULL, quantity INTEGER NOT NULL,
        amount_cents INTEGER NOT NULL, status TEXT NOT NULL, created_ms INTEGER NOT NULL
    )",
    "CREATE INDEX IF NOT EXISTS orders_by_user ON orders (user_id, created_ms)",
    "CREATE TABLE IF NOT EXISTS queue (
        id INTEGER PRIMARY KEY AUTOINCREMENT, order_id TEXT NOT NULL, headers TEXT NOT NULL, state TEXT NOT NULL DEFAULT 'ready',
        attempts INTEGER NOT NULL DEFAULT 0, available_ms INTEGER NOT NULL, created_ms INTEGER NOT NULL, last_error TEXT
    )",
    "CREATE INDEX IF NOT EXISTS queue_by_state ON queue (state, available_ms)",
];

tokio::task_local! {
    /// Delay of every statement of the running request: the fault `slow_db`.
    pub(crate) static SLOW_DATABASE: Duration;
}

/// The orders database; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    pub(crate) pool: SqlitePool,
    options: SqliteConnectOptions,
}

impl Store {
    /// Opens the file, made if need be, and brings its schema up to date.
    pub(crate) async fn open(path: &Path) -> Result<Self, sqlx::Error> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(BUSY_TIMEOUT);
        let pool = SqlitePoolOptions::new().max_connections(MAX_CONNECTIONS).acquire_timeout(ACQUIRE_TIMEOUT).connect_with(options.clone()).await?;
        for statement in SCHEMA.iter().copied() {
            sqlx::query(statement).execute(&pool).await?;
        }
        Ok(Self { pool, options })
    }

    /// Whether the database can be written: takes and returns the write lock, on a connection of its own so that a busy
    /// pool does not look like a dead database. The caller limits the time.
    pub(crate) async fn ping(&self) -> Result<(), sqlx::Error> {
        let options = self.options.clone().busy_timeout(Duration::from_secs(1));
        let mut connection = SqliteConnection::connect_with(&options).await?;
        sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await?;
        sqlx::query("ROLLBACK").execute(&mut connection).await?;
        connection.close().await
    }

    /// Keeps a new order and queues its shipment, both or neither.
    pub(crate) async fn create(&self, order: &Order) -> Result<(), sqlx::Error> {
        const INSERT: &str = "INSERT INTO orders (id, user_id, sku, quantity, amount_cents, status, created_ms) VALUES (?, ?, ?, ?, ?, ?, ?)";
        let mut transaction = sql_span(SYSTEM, "BEGIN IMMEDIATE", self.pool.begin_with("BEGIN IMMEDIATE")).await?;
        sql_span(SYSTEM, INSERT, async {
            slow_down().await;
            sqlx::query(INSERT)
                .bind(&order.id)
                .bind(&order.user_id)
                .bind(&order.sku)
                .bind(order.quantity)
                .bind(order.amount_cents)
                .bind(&order.status)
                .bind(order.created_ms)
                .execute(&mut *transaction)
                .await
        })
        .await?;
        let connection = &mut *transaction;
        messaging::publish(queue::SYSTEM, queue::SHIPMENTS, |headers: MessageHeaders| {
            queue::insert(connection, &order.id, headers, order.created_ms, SHIP_AFTER)
        })
        .await?;
        sql_span(SYSTEM, "COMMIT", transaction.commit()).await
    }

    /// The latest orders of a user.
    pub(crate) async fn list(&self, user_id: &str) -> Result<Vec<Order>, sqlx::Error> {
        const SELECT: &str =
            "SELECT id, user_id, sku, quantity, amount_cents, status, created_ms FROM orders WHERE user_id = ? ORDER BY created_ms DESC LIMIT ?";
        let rows = sql_span(SYSTEM, SELECT, async {
            let mut connection = self.pool.acquire().await?;
            slow_down().await;
            sqlx::query(SELECT).bind(user_id).bind(MAX_LISTED).fetch_all(&mut *connection).await
        })
        .await?;
        rows.iter().map(read).collect()
    }

    /// One order.
    pub(crate) async fn get(&self, id: &str) -> Result<Option<Order>, sqlx::Error> {
        const SELECT: &str = "SELECT id, user_id, sku, quantity, amount_cents, status, created_ms FROM orders WHERE id = ?";
        let row = sql_span(SYSTEM, SELECT, async {
            let mut connection = self.pool.acquire().await?;
            slow_down().await;
            sqlx::query(SELECT).bind(id).fetch_optional(&mut *connection).await
        })
        .await?;
        row.as_ref().map(read).transpose()
    }

    /// Sets `status` of an order that is in status `from`; `false` if it is not.
    pub(crate) async fn change_status(&self, id: &str, from: &str, status: &str) -> Result<bool, sqlx::Error> {
        const UPDATE: &str = "UPDATE orders SET status = ? WHERE id = ? AND status = ?";
        let done = sql_span(SYSTEM, UPDATE, async {
            let mut connection = self.pool.acquire().await?;
            slow_down().await;
            sqlx::query(UPDATE).bind(status).bind(id).bind(from).execute(&mut *connection).await
        })
        .await?;
        Ok(done.rows_affected() == 1)
    }
}

/// The delay of the fault `slow_db`, inside the statement's span and while its connection is held, as a slow disk or a
/// missing index would have it.
async fn slow_down() {
    if let Ok(delay) = SLOW_DATABASE.try_with(|delay| *delay) {
        tokio::time::sleep(delay).await;
    }
}

fn read(row: &SqliteRow) -> Result<Order, sqlx::Error> {
    Ok(Order {
        id: row.try_get(0)?,
        user_id: row.try_get(1)?,
        sku: row.try_get(2)?,
        quantity: row.try_get(3)?,
        amount_cents: row.try_get(4)?,
        status: row.try_get(5)?,
        created_ms: row.try_get(6)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn order(id: &str) -> Order {
        Order {
            id: id.to_owned(),
            user_id: "ada".to_owned(),
            sku: "tea".to_owned(),
            quantity: 1,
            amount_cents: 300,
            status: "paid".to_owned(),
            created_ms: 5,
        }
    }

    #[tokio::test]
    async fn orders_and_their_shipment_are_kept_together() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("orders.db")).await.unwrap();
        store.create(&order("a")).await.unwrap();
        assert!(store.create(&order("a")).await.is_err(), "the id is taken");
        assert_eq!(store.get("a").await.unwrap(), Some(order("a")));
        assert_eq!(store.list("ada").await.unwrap().len(), 1);
        assert_eq!(store.list("bob").await.unwrap().len(), 0);
        assert_eq!(queue::stats(&store.pool, 10).await.unwrap().ready, 1, "the failed order left no shipment");
        assert!(store.change_status("a", "paid", "cancelled").await.unwrap());
        assert!(!store.change_status("a", "paid", "shipped").await.unwrap());
    }

    #[tokio::test]
    async fn a_locked_database_does_not_answer_the_ping() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("orders.db");
        let store = Store::open(&path).await.unwrap();
        store.ping().await.unwrap();
        let mut other = SqliteConnection::connect_with(&store.options).await.unwrap();
        sqlx::query("BEGIN EXCLUSIVE").execute(&mut other).await.unwrap();
        let pinged = tokio::time::timeout(Duration::from_millis(100), store.ping()).await;
        assert!(!matches!(pinged, Ok(Ok(()))));
        sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
        store.ping().await.unwrap();
    }
}
