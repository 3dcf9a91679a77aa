//! Series of one metric by their label values, and the two simple kinds: counter and gauge.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::limits::MAX_SERIES_PER_METRIC;

/// The series of one metric. Looking one up takes a read lock and compares the labels; no allocation.
pub(crate) struct Family<T> {
    /// Names of the labels as given.
    pub(crate) labels: Vec<String>,
    series: RwLock<Table<T>>,
    make: Box<dyn Fn() -> T + Send + Sync>,
}

struct Table<T> {
    by_hash: HashMap<u64, Vec<Arc<Series<T>>>>,
    count: usize,
    overflow: Option<Arc<Series<T>>>,
}

/// One label set with its value.
#[derive(Debug)]
pub(crate) struct Series<T> {
    /// `None` for the series that takes what is past the limit.
    pub(crate) labels: Option<Box<[Box<str>]>>,
    pub(crate) value: T,
}

impl<T> Family<T> {
    pub(crate) fn new(labels: &[&str], make: impl Fn() -> T + Send + Sync + 'static) -> Self {
        Self {
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            series: RwLock::new(Table { by_hash: HashMap::new(), count: 0, overflow: None }),
            make: Box::new(make),
        }
    }

    /// The series with these label values, made if need be. Too many or too few values are cut or padded.
    pub(crate) fn get(&self, values: &[&str]) -> Arc<Series<T>> {
        let mut padded;
        let values = if values.len() == self.labels.len() {
            values
        } else {
            padded = values.to_vec();
            padded.resize(self.labels.len(), "");
            &padded
        };
        let hash = hash(values);
        if let Some(found) = find(&self.series.read().by_hash, hash, values) {
            return Arc::clone(found);
        }
        let mut table = self.series.write();
        if let Some(found) = find(&table.by_hash, hash, values) {
            return Arc::clone(found);
        }
        if table.count == MAX_SERIES_PER_METRIC {
            let overflow = table.overflow.get_or_insert_with(|| Arc::new(Series { labels: None, value: (self.make)() }));
            return Arc::clone(overflow);
        }
        let labels = values.iter().map(|value| Box::from(*value)).collect();
        let series = Arc::new(Series { labels: Some(labels), value: (self.make)() });
        table.count += 1;
        table.by_hash.entry(hash).or_default().push(Arc::clone(&series));
        series
    }

    /// All series, ordered by their labels.
    pub(crate) fn all(&self) -> Vec<Arc<Series<T>>> {
        let table = self.series.read();
        let mut all: Vec<_> = table.by_hash.values().flatten().chain(&table.overflow).map(Arc::clone).collect();
        all.sort_by(|a, b| a.labels.cmp(&b.labels));
        all
    }
}

impl<T> fmt::Debug for Family<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Family").field("labels", &self.labels).finish_non_exhaustive()
    }
}

fn find<'a, T>(by_hash: &'a HashMap<u64, Vec<Arc<Series<T>>>>, hash: u64, values: &[&str]) -> Option<&'a Arc<Series<T>>> {
    by_hash
        .get(&hash)?
        .iter()
        .find(|series| series.labels.as_ref().is_some_and(|labels| labels.iter().zip(values).all(|(label, value)| label.as_ref() == *value)))
}

/// FNV-1a with a separator. Collisions only cost comparisons, and the number of series is bounded.
fn hash(values: &[&str]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for value in values {
        for byte in value.bytes().chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash
}

/// A number with atomic addition; f64 because Prometheus and OTLP sums are.
#[derive(Debug, Default)]
pub(crate) struct Number(AtomicU64);

impl Number {
    pub(crate) fn add(&self, amount: f64) {
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |bits| Some((f64::from_bits(bits) + amount).to_bits()));
    }

    pub(crate) fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

/// A number that only grows.
#[derive(Debug, Clone)]
pub struct Counter(pub(crate) Arc<Series<Number>>);

impl Counter {
    /// Adds one.
    pub fn increment(&self) {
        self.0.value.add(1.0);
    }

    /// Adds `amount`; a negative or non-finite amount is ignored, because a counter only grows.
    pub fn add(&self, amount: f64) {
        if amount > 0.0 && amount.is_finite() {
            self.0.value.add(amount);
        }
    }

    /// The value so far.
    pub fn value(&self) -> f64 {
        self.0.value.get()
    }
}

/// A counter with labels.
#[derive(Debug, Clone)]
pub struct CounterFamily(pub(crate) Arc<Family<Number>>);

impl CounterFamily {
    /// The counter with these label values, in the order of the label names.
    pub fn with(&self, values: &[&str]) -> Counter {
        Counter(self.0.get(values))
    }

    /// Adds one to the counter with these label values.
    pub fn increment(&self, values: &[&str]) {
        self.with(values).increment();
    }
}

/// A number that goes up and down.
#[derive(Debug, Clone)]
pub struct Gauge(pub(crate) Arc<Series<Number>>);

impl Gauge {
    /// Sets the value.
    pub fn set(&self, value: f64) {
        self.0.value.set(value);
    }

    /// Adds `amount`, which may be negative.
    pub fn add(&self, amount: f64) {
        self.0.value.add(amount);
    }

    /// The present value.
    pub fn value(&self) -> f64 {
        self.0.value.get()
    }
}

/// A gauge with labels.
#[derive(Debug, Clone)]
pub struct GaugeFamily(pub(crate) Arc<Family<Number>>);

impl GaugeFamily {
    /// The gauge with these label values, in the order of the label names.
    pub fn with(&self, values: &[&str]) -> Gauge {
        Gauge(self.0.get(values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_labels_are_the_same_series() {
        let family = CounterFamily(Arc::new(Family::new(&["route", "status"], Number::default)));
        family.increment(&["/orders", "200"]);
        family.with(&["/orders", "200"]).add(2.0);
        family.with(&["/orders", "200"]).add(-5.0);
        family.with(&["/orders", "200"]).add(f64::NAN);
        family.increment(&["/order", "s200"]);
        assert_eq!(family.with(&["/orders", "200"]).value(), 3.0);
        assert_eq!(family.0.all().len(), 2);
        family.increment(&["/orders"]);
        assert_eq!(family.with(&["/orders", ""]).value(), 1.0);
    }

    #[test]
    fn past_the_limit_series_share_one() {
        let family = CounterFamily(Arc::new(Family::new(&["user"], Number::default)));
        for user in 0..MAX_SERIES_PER_METRIC + 10 {
            family.increment(&[&user.to_string()]);
        }
        let all = family.0.all();
        assert_eq!(all.len(), MAX_SERIES_PER_METRIC + 1);
        let overflow = all.iter().find(|series| series.labels.is_none()).unwrap();
        assert_eq!(overflow.value.get(), 10.0);
    }
}
