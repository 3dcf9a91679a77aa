//! The export thread: one small runtime, one task per signal, so that no signal waits for another.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::client::{Client, Outcome, pause};
use super::drops::{Account, DropReason, Signal};
use super::otlp;
use super::queue::Queue;
use crate::limits::{DROP_WARNING_EVERY, EXPORT_RETRY_FOR, MAX_BATCH_BYTES};
use crate::telemetry::Telemetry;

/// What the other threads tell the export thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Run,
    /// Send everything now; the number makes each flush distinct.
    Flush(u64),
    /// Send everything until the deadline, then end.
    Stop(Instant),
}

/// A signal's task says here that it has done flush number so many.
#[derive(Debug)]
pub(crate) struct Done(pub(crate) watch::Sender<u64>);

/// Runs until it is told to stop. The caller owns the thread.
fn run(runtime: Runtime, telemetry: &Telemetry, client: &Client, orders: &watch::Receiver<Order>, done: [Done; 3]) {
    // The exporter's own HTTP client must not produce telemetry about exporting telemetry.
    crate::logs::silence_this_thread();
    let [traces, logs, metrics] = done;
    runtime.block_on(async {
        tokio::join!(
            queue_task(telemetry, telemetry.spans(), client, orders.clone(), traces),
            queue_task(telemetry, telemetry.log_queue(), client, orders.clone(), logs),
            metric_task(telemetry, client, orders.clone(), metrics),
            warn_task(telemetry, orders.clone()),
        );
    });
    runtime.shutdown_background();
}

async fn queue_task(telemetry: &Telemetry, queue: &Queue, client: &Client, mut orders: watch::Receiver<Order>, done: Done) {
    let account = telemetry.account();
    let interval = telemetry.config().export_interval;
    loop {
        let order = *orders.borrow_and_update();
        if matches!(order, Order::Stop(_)) {
            queue.close();
        }
        // A new order is looked at between batches, or constant load would hide it.
        while *orders.borrow() == order {
            let batch = queue.take(MAX_BATCH_BYTES);
            if batch.records == 0 {
                break;
            }
            let body = client.body(otlp::request(telemetry.resource(), &batch.bytes));
            drop(batch.bytes);
            deliver(client, account, queue.signal(), batch.records, body, &mut orders).await;
        }
        // An order may have come while a batch was retried: look again before reporting.
        if *orders.borrow() != order {
            continue;
        }
        match order {
            Order::Run => {}
            Order::Flush(number) => {
                done.0.send_replace(number);
            }
            Order::Stop(_) => return,
        }
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            () = queue.pressed() => {}
            changed = orders.changed() => if changed.is_err() { return },
        }
    }
}

async fn metric_task(telemetry: &Telemetry, client: &Client, mut orders: watch::Receiver<Order>, done: Done) {
    let account = telemetry.account();
    let interval = telemetry.config().metric_interval;
    let mut next = tokio::time::Instant::now() + interval;
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(next) => {}
            changed = orders.changed() => if changed.is_err() { return },
        }
        next = tokio::time::Instant::now() + interval;
        let order = *orders.borrow_and_update();
        if telemetry.config().export_metrics {
            let mut records = Vec::new();
            let points = telemetry.metrics().encode_otlp(&mut records, crate::clock::now_ns());
            if points > 0 {
                account.take(Signal::Metrics, points);
                let body = client.body(otlp::request(telemetry.resource(), &records));
                deliver(client, account, Signal::Metrics, points, body, &mut orders).await;
            }
        }
        match order {
            Order::Run => {}
            Order::Flush(number) => {
                done.0.send_replace(number);
            }
            Order::Stop(_) => return,
        }
        if *orders.borrow() != order {
            next = tokio::time::Instant::now();
        }
    }
}

/// Sends one batch until it is delivered, refused, retried for long enough, or the process stops.
async fn deliver(client: &Client, account: &Account, signal: Signal, records: u64, body: Bytes, orders: &mut watch::Receiver<Order>) {
    let started = Instant::now();
    let mut attempt = 0;
    loop {
        let outcome = tokio::select! {
            outcome = client.send(signal, body.clone()) => outcome,
            () = stopped(orders) => return account.lose(signal, DropReason::Shutdown, records),
        };
        match outcome {
            Outcome::Delivered { rejected, message } => {
                let rejected = rejected.min(records);
                account.deliver(signal, records - rejected);
                if rejected > 0 {
                    account.lose(signal, DropReason::Rejected, rejected);
                    account.explain(&message);
                }
                return;
            }
            Outcome::Rejected(reason) => {
                account.lose(signal, DropReason::Rejected, records);
                return account.explain(&reason);
            }
            Outcome::Retry { after, reason } => {
                attempt += 1;
                let wait = pause(attempt, after, fastrand::f64());
                // Metrics are cumulative: the next export carries what this one had.
                if started.elapsed() + wait > EXPORT_RETRY_FOR || (signal == Signal::Metrics && attempt > 3) {
                    account.lose(signal, DropReason::RetryExhausted, records);
                    return account.explain(&reason);
                }
                account.explain(&reason);
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = stopped(orders) => return account.lose(signal, DropReason::Shutdown, records),
                }
            }
        }
    }
}

/// Resolves at the deadline of a stop order.
async fn stopped(orders: &mut watch::Receiver<Order>) {
    let order = orders.wait_for(|order| matches!(order, Order::Stop(_))).await.map(|order| *order);
    // Without a stop order the sender is gone: end at once.
    if let Ok(Order::Stop(deadline)) = order {
        tokio::time::sleep_until(deadline.into()).await;
    }
}

/// One warning a minute at most, when something was dropped since the last.
async fn warn_task(telemetry: &Telemetry, mut orders: watch::Receiver<Order>) {
    let mut reported = 0;
    let mut due = tokio::time::Instant::now();
    loop {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            changed = orders.changed() => if changed.is_err() { return },
        }
        let stop = matches!(*orders.borrow_and_update(), Order::Stop(_));
        if stop {
            return;
        }
        let dropped = telemetry.account().total_dropped();
        if dropped > reported && tokio::time::Instant::now() >= due {
            crate::logs::warn_dropped(telemetry, dropped - reported);
            reported = dropped;
            due = tokio::time::Instant::now() + DROP_WARNING_EVERY;
        }
    }
}

/// Shared by the handles that order and the tasks that obey.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) orders: watch::Sender<Order>,
    pub(crate) done: [watch::Receiver<u64>; 3],
    pub(crate) thread: parking_lot::Mutex<Option<std::thread::JoinHandle<()>>>,
    pub(crate) flushes: std::sync::atomic::AtomicU64,
}

impl Control {
    /// Starts the thread.
    pub(crate) fn start(telemetry: &Telemetry, client: Client) -> std::io::Result<Arc<Self>> {
        let (orders, receiver) = watch::channel(Order::Run);
        let (traces, traces_done) = watch::channel(0);
        let (logs, logs_done) = watch::channel(0);
        let (metrics, metrics_done) = watch::channel(0);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let telemetry = telemetry.clone();
        let thread = std::thread::Builder::new().name("skopos-export".to_owned()).spawn(move || {
            run(runtime, &telemetry, &client, &receiver, [Done(traces), Done(logs), Done(metrics)]);
        })?;
        Ok(Arc::new(Self {
            orders,
            done: [traces_done, logs_done, metrics_done],
            thread: parking_lot::Mutex::new(Some(thread)),
            flushes: std::sync::atomic::AtomicU64::new(0),
        }))
    }
}
