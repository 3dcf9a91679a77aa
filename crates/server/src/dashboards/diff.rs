//! What two versions of a document differ in, line by line.

use serde::Serialize;

/// A line of a difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// ` ` in both, `-` only before, `+` only after.
    pub op: char,
    /// Text.
    pub text: String,
}

/// Above this product of changed lines the middle is shown as removed and added as a whole.
const CELLS_MAX: usize = 4_000_000;
/// Equal lines shown around a change.
const CONTEXT: usize = 3;

/// The shortest difference of two texts, with [`CONTEXT`] lines around each change.
pub fn lines(before: &str, after: &str) -> Vec<Line> {
    let (a, b): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let head = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let tail = a[head..].iter().rev().zip(b[head..].iter().rev()).take_while(|(x, y)| x == y).count();
    let line = |op: char, text: &&str| Line { op, text: (*text).to_owned() };
    let mut all: Vec<Line> = a[..head].iter().map(|t| line(' ', t)).collect();
    all.extend(middle(&a[head..a.len() - tail], &b[head..b.len() - tail]));
    all.extend(a[a.len() - tail..].iter().map(|t| line(' ', t)));
    let changed: Vec<usize> = all.iter().enumerate().filter(|(_, l)| l.op != ' ').map(|(i, _)| i).collect();
    let near = |i: usize| {
        let at = changed.partition_point(|c| *c < i.saturating_sub(CONTEXT));
        changed.get(at).is_some_and(|c| *c <= i + CONTEXT)
    };
    all.into_iter().enumerate().filter(|(i, _)| near(*i)).map(|(_, l)| l).collect()
}

fn middle(a: &[&str], b: &[&str]) -> Vec<Line> {
    let line = |op: char, text: &str| Line { op, text: text.to_owned() };
    if a.len().saturating_mul(b.len()) > CELLS_MAX {
        return a.iter().map(|t| line('-', t)).chain(b.iter().map(|t| line('+', t))).collect();
    }
    // Longest common part of what follows each pair of positions.
    let width = b.len() + 1;
    let mut common = vec![0u32; (a.len() + 1) * width];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            common[i * width + j] =
                if a[i] == b[j] { common[(i + 1) * width + j + 1] + 1 } else { common[(i + 1) * width + j].max(common[i * width + j + 1]) };
        }
    }
    let (mut i, mut j, mut out) = (0, 0, Vec::new());
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            out.push(line(' ', a[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == b.len() || (i < a.len() && common[(i + 1) * width + j] >= common[i * width + j + 1]) {
            out.push(line('-', a[i]));
            i += 1;
        } else {
            out.push(line('+', b[j]));
            j += 1;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(before: &str, after: &str) -> String {
        lines(before, after).iter().map(|l| format!("{}{}", l.op, l.text)).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn only_changes_and_what_is_around_them() {
        assert_eq!(shown("a\nb\nc", "a\nb\nc"), "");
        assert_eq!(shown("a\nb\nc", "a\nx\nc"), " a|-b|+x| c");
        assert_eq!(shown("1\n2\n3\n4\n5\n6", "1\n2\n3\n4\n5\n6\n7"), " 4| 5| 6|+7");
        assert_eq!(shown("", "a\nb"), "+a|+b");
        assert_eq!(shown("a\nb\nc\nd", "b\nd\ne"), "-a| b|-c| d|+e");
    }

    #[test]
    fn applying_a_difference_gives_the_other_text() {
        let (a, b) = ("k\nl\nm\nn\no", "l\nk\nn\no\np\nm");
        let all = middle(&a.lines().collect::<Vec<_>>(), &b.lines().collect::<Vec<_>>());
        let side = |skip: char| all.iter().filter(|l| l.op != skip).map(|l| l.text.as_str()).collect::<Vec<_>>().join("\n");
        assert_eq!((side('+'), side('-')), (a.to_owned(), b.to_owned()));
    }
}
