//! Filters that tell which pages cannot hold an id or a word, and the tokens they hold.
//!
//! A split-block bloom filter a page, and one over the whole file in front of them, so that a look-up over many
//! files reads 32 bytes a file. Tokens of messages are chosen so that searching for *part* of a text can use them
//! too: of each run of 16 or more letters and digits with a digit in it, every window of 16 bytes is a token
//! (templates hold no such run, see `template`).

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::template::{LONG_RUN, in_run, uuid_bytes};

/// Bytes of a block of the filter: what one probe reads.
pub(super) const BLOCK_BYTES: usize = 32;
/// Bits a token in a page's filter: 0.5 % false pages.
pub(super) const PAGE_BITS: usize = 12;
/// Bits a token in a file's filter: 1 % false files.
pub(super) const FILE_BITS: usize = 10;
/// Longer runs are not cut into windows; a page that has one is searched always.
const RUN_BYTES_MAX: usize = 256;
/// A page with more tokens is searched always.
pub(super) const PAGE_TOKENS_MAX: usize = 1 << 18;

const SALT: [u32; 8] = [0x47b6_137b, 0x4497_4d91, 0x8824_ad5b, 0xa2b7_289d, 0x7054_95c7, 0x2df1_424b, 0x9efc_4947, 0x5c6b_fb31];

/// The block a hash falls into, of `blocks`.
pub(super) fn block_of(hash: u64, blocks: u64) -> u64 {
    ((hash >> 32) * blocks) >> 32
}

/// Whether a block, as stored, holds the hash.
pub(super) fn block_has(block: &[u8], hash: u64) -> bool {
    block.chunks_exact(4).zip(SALT).all(|(word, salt)| {
        let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        word >> ((hash as u32).wrapping_mul(salt) >> 27) & 1 == 1
    })
}

/// Builds the filter of distinct hashes as it is stored: little-endian words.
pub(super) fn build(hashes: &[u64], bits: usize) -> Vec<u8> {
    let blocks = (hashes.len() * bits).div_ceil(BLOCK_BYTES * 8).max(1);
    let mut words = vec![[0u32; 8]; blocks];
    for &hash in hashes {
        let block = &mut words[block_of(hash, blocks as u64) as usize];
        for (word, salt) in block.iter_mut().zip(SALT) {
            *word |= 1 << ((hash as u32).wrapping_mul(salt) >> 27);
        }
    }
    words.iter().flatten().flat_map(|word| word.to_le_bytes()).collect()
}

/// Token of a trace id, or of the bytes of a UUID in a message.
pub(super) fn id_token(bytes: &[u8; 16]) -> u64 {
    xxh3_64(bytes)
}

/// Token of a window of [`LONG_RUN`] bytes, in lower case.
pub(super) fn window_token(window: &[u8]) -> u64 {
    xxh3_64_with_seed(window, 1)
}

/// Token of a whole word, in lower case.
pub(super) fn word_token(word: &[u8]) -> u64 {
    xxh3_64_with_seed(word, 2)
}

/// Calls `token` for each token of raw text. False when the text holds a run that is not covered.
pub(super) fn text_tokens(text: &[u8], words: bool, mut token: impl FnMut(u64)) -> bool {
    let mut at = 0;
    let mut lower = [0u8; RUN_BYTES_MAX];
    while at < text.len() {
        if !in_run(text[at]) {
            at += 1;
            continue;
        }
        let start = at;
        while at < text.len() && in_run(text[at]) {
            at += 1;
        }
        let run = &text[start..at];
        if run.len() > RUN_BYTES_MAX {
            return false;
        }
        if run.len() >= 8
            && text.get(at) == Some(&b'-')
            && let Some(bytes) = uuid_bytes(&text[at - 8..])
        {
            token(id_token(&bytes));
        }
        let lower = &mut lower[..run.len()];
        lower.copy_from_slice(run);
        lower.make_ascii_lowercase();
        if is_windowed(lower) {
            lower.windows(LONG_RUN).for_each(|window| token(window_token(window)));
        } else if words {
            token(word_token(lower));
        }
    }
    true
}

fn is_windowed(run: &[u8]) -> bool {
    run.len() >= LONG_RUN && run.iter().any(u8::is_ascii_digit)
}

/// What a searched text tells about the tokens of a page that holds it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct TextProbe {
    /// A page without one of these does not hold the text.
    pub(super) page: Vec<u64>,
    /// A page without one of these does not hold the text in a tail or a raw message.
    pub(super) tail: Vec<u64>,
}

impl TextProbe {
    /// For a text in lower case of ASCII letters; other texts have no tokens.
    pub(super) fn new(lower: &[u8]) -> Self {
        let mut probe = Self::default();
        if !lower.is_ascii() {
            return probe;
        }
        let mut at = 0;
        while at < lower.len() {
            if !in_run(lower[at]) {
                at += 1;
                continue;
            }
            let start = at;
            while at < lower.len() && in_run(lower[at]) {
                at += 1;
            }
            let run = &lower[start..at];
            let bounded = start > 0 && at < lower.len();
            if run.len() >= 8
                && let Some(bytes) = uuid_bytes(&lower[at - 8..])
            {
                probe.page.push(id_token(&bytes));
            }
            if let Some(window) = run.windows(LONG_RUN).find(|w| w.iter().any(u8::is_ascii_digit)) {
                probe.page.push(window_token(window));
            } else if bounded && !is_windowed(run) && run.len() <= RUN_BYTES_MAX {
                probe.tail.push(word_token(run));
            }
        }
        probe.page.sort_unstable();
        probe.page.dedup();
        probe
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_was_put_in() {
        let hashes: Vec<u64> = (0..5000u64).map(|i| xxh3_64(&i.to_le_bytes())).collect();
        let filter = build(&hashes, PAGE_BITS);
        let has = |hash: u64| {
            let at = block_of(hash, (filter.len() / BLOCK_BYTES) as u64) as usize * BLOCK_BYTES;
            block_has(&filter[at..at + BLOCK_BYTES], hash)
        };
        assert!(hashes.iter().all(|h| has(*h)));
        let wrong = (0..10_000u64).filter(|i| has(xxh3_64(&(i + 1_000_000).to_le_bytes()))).count();
        assert!(wrong < 150, "{wrong} of 10000 false");
    }

    #[test]
    fn part_of_a_text_has_its_tokens() {
        let text = b"at Foo.bar(Req-8F3A00C1D2E4B5A6ff) id 550E8400-e29b-41d4-a716-446655440000 done";
        let mut tokens = Vec::new();
        assert!(text_tokens(text, true, |t| tokens.push(t)));
        for needle in
            ["3a00c1d2e4b5a6ff", "8f3a00c1d2e4b5a6", "550e8400-e29b-41d4-a716-446655440000", "foo.bar(req-8f3a00c1d2e4b5a6ff) id 5", "at foo.bar("]
        {
            let probe = TextProbe::new(needle.as_bytes());
            assert!(probe.page.iter().chain(&probe.tail).all(|t| tokens.contains(t)), "{needle}");
        }
        assert_eq!(TextProbe::new(b"timeout"), TextProbe::default());
        assert_eq!(TextProbe::new(b" by ").tail.len(), 1);
        assert!(!text_tokens(&[b'a'; 300], true, |_| {}));
    }
}
