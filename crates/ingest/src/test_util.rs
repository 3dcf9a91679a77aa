//! Helpers of this crate's tests.

use std::collections::HashMap;

use skopos_model::{Labels, SeriesId, SeriesResolver};
pub(crate) use skopos_testkit::shared;

/// The lines of a JSON-lines file of the conformance data.
pub(crate) fn shared_lines(path: &str) -> Option<Vec<serde_json::Value>> {
    let text = std::fs::read_to_string(shared(path)?).expect("conformance data is readable");
    Some(text.lines().map(|line| serde_json::from_str(line).expect("conformance data is JSON")).collect())
}

/// Numbers series by their raw bytes; equal labels under other bytes share a number.
#[derive(Debug, Default)]
pub(crate) struct TableResolver {
    by_raw: HashMap<Vec<u8>, SeriesId>,
    by_labels: HashMap<Labels, SeriesId>,
    all: Vec<Labels>,
    /// How often labels were asked for.
    pub(crate) parsed: usize,
    /// Refuse series from this number on.
    pub(crate) max: Option<usize>,
}

impl TableResolver {
    pub(crate) fn labels(&self, id: SeriesId) -> &Labels {
        &self.all[id.0 as usize]
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }
}

impl SeriesResolver for TableResolver {
    fn resolve(&mut self, raw: &[u8], parse: &mut dyn FnMut() -> Labels) -> Option<SeriesId> {
        if let Some(id) = self.by_raw.get(raw) {
            return Some(*id);
        }
        self.parsed += 1;
        let labels = parse();
        if labels.is_empty() {
            return None;
        }
        let id = match self.by_labels.get(&labels) {
            Some(id) => *id,
            None if self.max.is_some_and(|max| self.all.len() >= max) => return None,
            None => {
                let id = SeriesId(self.all.len() as u32);
                self.all.push(labels.clone());
                self.by_labels.insert(labels, id);
                id
            }
        };
        self.by_raw.insert(raw.to_vec(), id);
        Some(id)
    }
}
