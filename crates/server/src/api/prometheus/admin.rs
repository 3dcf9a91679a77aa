//! The admin API, which answers as Prometheus does without `--web.enable-admin-api`.

use super::PromError;

/// `POST|PUT /api/v1/admin/tsdb/*`
pub(crate) async fn disabled() -> PromError {
    PromError::unavailable("admin APIs disabled")
}
