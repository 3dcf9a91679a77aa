//! Messages of one row group in columns: templates, variables, tails.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, DictionaryArray, Int32Array, StringArray};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::Int32Type;
use xxhash_rust::xxh3::xxh3_64;

use super::template::{Parts, rebuild, split};

/// Templates of fewer rows in a row group stay raw.
const TEMPLATE_ROWS_MIN: u32 = 16;
/// Most templates of a row group, while mining and in the file.
const TEMPLATES_MAX: usize = 16 << 10;
/// Most bytes of template text of a row group: the dictionary page stays below its limit.
const TEMPLATE_TEXT_MAX: usize = 1 << 20;
/// No template: the message is in the tail.
const RAW: u32 = u32::MAX;

/// Byte strings one after another.
#[derive(Debug)]
struct ByteColumn {
    bytes: Vec<u8>,
    offsets: Vec<i32>,
}

impl ByteColumn {
    fn with_capacity(rows: usize, bytes: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Self { bytes: Vec::with_capacity(bytes), offsets }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        // Row groups are cut by bytes long before (`encode::GROUP_BYTES_MAX`).
        self.offsets.push(i32::try_from(self.bytes.len()).expect("a row group's messages stay below 2 GiB"));
    }

    fn get(&self, row: usize) -> &[u8] {
        &self.bytes[self.offsets[row] as usize..self.offsets[row + 1] as usize]
    }

    /// Empty strings are null; `None` when all are.
    fn parts(self) -> (OffsetBuffer<i32>, Buffer, Option<NullBuffer>) {
        let nulls = NullBuffer::from_iter(self.offsets.windows(2).map(|w| w[1] > w[0]));
        (OffsetBuffer::new(ScalarBuffer::from(self.offsets)), Buffer::from_vec(self.bytes), Some(nulls))
    }
}

/// The columns a row group's messages become.
#[derive(Debug)]
pub(super) struct BodyColumns {
    pub(super) template: ArrayRef,
    pub(super) vars: ArrayRef,
    pub(super) hex: ArrayRef,
    pub(super) uuid: ArrayRef,
    pub(super) tail: ArrayRef,
}

/// Collects messages of one row group.
#[derive(Debug)]
pub(super) struct Bodies {
    templates: Vec<Box<[u8]>>,
    template_bytes: usize,
    known: HashMap<u64, u32>,
    counts: Vec<u32>,
    ids: Vec<u32>,
    vars: ByteColumn,
    hex: ByteColumn,
    uuid: ByteColumn,
    tail: ByteColumn,
    parts: Parts,
}

impl Bodies {
    /// For about `rows` messages.
    pub(super) fn new(rows: usize) -> Self {
        Self {
            templates: Vec::new(),
            template_bytes: 0,
            known: HashMap::new(),
            counts: Vec::new(),
            ids: Vec::with_capacity(rows),
            vars: ByteColumn::with_capacity(rows, rows * 16),
            hex: ByteColumn::with_capacity(rows, rows * 4),
            uuid: ByteColumn::with_capacity(rows, 0),
            tail: ByteColumn::with_capacity(rows, rows * 8),
            parts: Parts::default(),
        }
    }

    /// The number of a template, or [`RAW`] when there are too many.
    pub(super) fn intern(&mut self, template: &[u8]) -> u32 {
        let hash = xxh3_64(template);
        if let Some(&id) = self.known.get(&hash) {
            // Two templates of one hash: the second stays raw.
            return if *self.templates[id as usize] == *template { id } else { RAW };
        }
        if self.templates.len() >= TEMPLATES_MAX || self.template_bytes + template.len() > TEMPLATE_TEXT_MAX {
            return RAW;
        }
        let id = self.templates.len() as u32;
        self.templates.push(template.into());
        self.template_bytes += template.len();
        self.counts.push(0);
        self.known.insert(hash, id);
        id
    }

    /// Appends a message as text.
    pub(super) fn push_body(&mut self, body: &[u8]) {
        let mut parts = std::mem::take(&mut self.parts);
        let id = if split(body, &mut parts) { self.intern(&parts.template) } else { RAW };
        if id == RAW {
            self.push_raw(body);
        } else {
            self.push_parts(id, &parts.vars, &parts.hex, &parts.uuid, &body[parts.tail..]);
        }
        self.parts = parts;
    }

    fn push_raw(&mut self, body: &[u8]) {
        self.ids.push(RAW);
        self.vars.push(b"");
        self.hex.push(b"");
        self.uuid.push(b"");
        self.tail.push(body);
    }

    /// Appends a message whose parts are known; `id` is of [`Self::intern`] and not raw.
    pub(super) fn push_parts(&mut self, id: u32, vars: &[u8], hex: &[u8], uuid: &[u8], tail: &[u8]) {
        self.counts[id as usize] += 1;
        self.ids.push(id);
        self.vars.push(vars);
        self.hex.push(hex);
        self.uuid.push(uuid);
        self.tail.push(tail);
    }

    /// Whether `id` of [`Self::intern`] means "stays raw".
    pub(super) fn is_raw(id: u32) -> bool {
        id == RAW
    }

    /// The columns. Rare templates become raw messages.
    pub(super) fn finish(self) -> BodyColumns {
        let rare = |id: u32| id != RAW && self.counts[id as usize] < TEMPLATE_ROWS_MIN;
        if !self.ids.iter().any(|id| rare(*id)) {
            return self.columns();
        }
        let rows = self.ids.len();
        let mut kept = Self::new(0);
        kept.vars = ByteColumn::with_capacity(rows, self.vars.bytes.len());
        kept.hex = ByteColumn::with_capacity(rows, self.hex.bytes.len());
        kept.tail = ByteColumn::with_capacity(rows, self.tail.bytes.len() + rows);
        let mut new_ids = vec![RAW; self.templates.len()];
        let mut body = Vec::new();
        for (row, &id) in self.ids.iter().enumerate() {
            if id == RAW {
                kept.push_raw(self.tail.get(row));
            } else if rare(id) {
                body.clear();
                rebuild(&self.templates[id as usize], self.vars.get(row), self.hex.get(row), self.uuid.get(row), self.tail.get(row), &mut body);
                kept.push_raw(&body);
            } else {
                if new_ids[id as usize] == RAW {
                    new_ids[id as usize] = kept.templates.len() as u32;
                    kept.templates.push(self.templates[id as usize].clone());
                    kept.counts.push(0);
                }
                kept.push_parts(new_ids[id as usize], self.vars.get(row), self.hex.get(row), self.uuid.get(row), self.tail.get(row));
            }
        }
        kept.columns()
    }

    fn columns(self) -> BodyColumns {
        let keys: Int32Array = self.ids.iter().map(|id| (*id != RAW).then_some(*id as i32)).collect();
        let texts = StringArray::from_iter_values(self.templates.iter().map(|t| std::str::from_utf8(t).unwrap_or("")));
        let text = |column: ByteColumn| -> ArrayRef {
            let (offsets, bytes, nulls) = column.parts();
            // Parts are cut between letters and digits of text, never inside a character.
            Arc::new(StringArray::try_new(offsets, bytes, nulls).expect("parts of text are text"))
        };
        let binary = |column: ByteColumn| -> ArrayRef {
            let (offsets, bytes, nulls) = column.parts();
            Arc::new(BinaryArray::new(offsets, bytes, nulls))
        };
        // An empty raw message is null in the tail and has no template: reading gives the empty text back.
        BodyColumns {
            template: Arc::new(DictionaryArray::<Int32Type>::new(keys, Arc::new(texts))),
            vars: text(self.vars),
            hex: binary(self.hex),
            uuid: binary(self.uuid),
            tail: text(self.tail),
        }
    }
}
