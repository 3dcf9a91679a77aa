//! What is known about the request being served: its id, its user, the feature flags it met, and the last steps
//! it took. Shared by all spans and log records of the request within this process.

use std::collections::VecDeque;

use parking_lot::Mutex;

use crate::clock;
use crate::limits::{MAX_BREADCRUMBS, MAX_FLAGS, MAX_ID_BYTES, MAX_VALUE_BYTES, cut};

/// One remembered step of a request; attached to its local root span when that fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breadcrumb {
    /// When, in nanoseconds since 1970.
    pub time_ns: u64,
    /// What kind of step: `http`, `db`, `cache`, or a word of one's own.
    pub category: &'static str,
    /// What happened.
    pub message: String,
}

/// The scope of one request, message or batch job.
#[derive(Debug)]
pub(crate) struct RequestScope {
    pub(crate) request_id: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    user_id: Option<String>,
    flags: Vec<(String, String)>,
    breadcrumbs: VecDeque<Breadcrumb>,
}

impl RequestScope {
    pub(crate) fn new(request_id: String, user_id: Option<String>) -> Self {
        Self { request_id, state: Mutex::new(State { user_id, ..State::default() }) }
    }

    pub(crate) fn set_user_id(&self, user_id: &str) {
        self.state.lock().user_id = Some(cut(user_id, MAX_ID_BYTES).to_owned());
    }

    pub(crate) fn user_id(&self) -> Option<String> {
        self.state.lock().user_id.clone()
    }

    /// Remembers the variant of a flag; the latest evaluation of a key wins.
    pub(crate) fn set_flag(&self, key: &str, variant: &str) {
        let mut state = self.state.lock();
        if let Some(flag) = state.flags.iter_mut().find(|(known, _)| known == key) {
            variant.clone_into(&mut flag.1);
        } else if state.flags.len() < MAX_FLAGS {
            state.flags.push((key.to_owned(), variant.to_owned()));
        }
    }

    pub(crate) fn with_flags(&self, mut each: impl FnMut(&str, &str)) {
        for (key, variant) in &self.state.lock().flags {
            each(key, variant);
        }
    }

    pub(crate) fn add_breadcrumb(&self, category: &'static str, message: &str) {
        let crumb = Breadcrumb { time_ns: clock::now_ns(), category, message: cut(message, MAX_VALUE_BYTES).to_owned() };
        let mut state = self.state.lock();
        if state.breadcrumbs.len() == MAX_BREADCRUMBS {
            state.breadcrumbs.pop_front();
        }
        state.breadcrumbs.push_back(crumb);
    }

    pub(crate) fn breadcrumbs(&self) -> Vec<Breadcrumb> {
        self.state.lock().breadcrumbs.iter().cloned().collect()
    }
}

/// Takes an id from outside: visible ASCII only and at most [`MAX_ID_BYTES`], so that it cannot forge log lines.
pub(crate) fn clean_id(text: &str) -> Option<&str> {
    let text = text.trim();
    (!text.is_empty() && text.len() <= MAX_ID_BYTES && text.bytes().all(|byte| byte.is_ascii_graphic())).then_some(text)
}
