//! From alerts to messages: routes, groups, inhibition, deduplication, delivery. Follows Alertmanager's pipeline.
//!
//! Sends nothing: deliveries are documents in a queue; the server performs what [`Dispatcher`] asks for and reports
//! back. A delivery is persisted before it is sent, so a crash in between sends it again: at least once.

mod chat;
mod config;
mod delivery;
mod dispatch;
mod inhibit;
mod matcher;
mod render;
mod route;
mod webhook;

pub use config::{ChatConfig, InhibitConfig, NotifyConfig, ReceiverConfig, RouteConfig, WebhookConfig};
pub use delivery::{ATTEMPTS_MAX, BACKOFF_MAX_MS, BACKOFF_MIN_MS, Delivery, DeliveryStatus, backoff_ms};
pub use dispatch::{Dispatcher, DispatcherState, Group, LogEntry};
pub use inhibit::InhibitRule;
pub use matcher::parse_matchers;
pub(crate) use render::rfc3339;
pub use render::{DRILL_LABEL, Notification, NotifiedAlert, truncate};
pub use route::{GroupBy, Integration, IntegrationKind, Receiver, Route, Routing};
pub use webhook::WEBHOOK_BYTES_MAX;

use serde::Serialize;

/// An HTTP request to be made.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outbound {
    /// Where to.
    pub url: String,
    /// Headers besides the length.
    pub headers: Vec<(String, String)>,
    /// JSON body.
    pub body: String,
}

/// A channel: one row makes it known to configuration, rendering and docs.
pub struct Channel {
    /// Name as it appears in views and metrics.
    pub name: &'static str,
    /// Builds the request. The integration is one of this channel.
    pub render: fn(&Notification, &Integration) -> Outbound,
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// All channels.
pub const CHANNELS: [Channel; 2] = [Channel { name: "webhook", render: webhook::render }, Channel { name: "chat", render: chat::render }];
