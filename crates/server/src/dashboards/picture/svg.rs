//! Pictures as markup.

use std::fmt::Write as _;

use super::{Anchor, Face, Picture, Shape};

/// Text inside markup.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // Control characters are no XML.
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

fn class(face: Face) -> &'static str {
    match (face.mono, face.bold) {
        (true, true) => "n b",
        (true, false) => "n",
        (false, true) => "b",
        (false, false) => "",
    }
}

fn shape(out: &mut String, shape: &Shape) {
    let _ = match shape {
        Shape::Text { at: (x, y), size, colour, anchor, face, text } => {
            let anchor = match anchor {
                Anchor::Start => "start",
                Anchor::Middle => "middle",
                Anchor::End => "end",
            };
            let class = class(*face);
            write!(
                out,
                "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" fill=\"{colour}\" text-anchor=\"{anchor}\" class=\"{class}\">{}</text>",
                escape(text)
            )
        }
        Shape::Line { from, to, colour, dash } => {
            let dash = dash.map(|(on, off)| format!(" stroke-dasharray=\"{on} {off}\"")).unwrap_or_default();
            write!(out, "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{colour}\"{dash}/>", from.0, from.1, to.0, to.1)
        }
        Shape::Rect { at: (x, y), size: (width, height), colour, opacity } => {
            write!(
                out,
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\" fill-opacity=\"{opacity:.2}\"/>"
            )
        }
        Shape::Lines { stretches, colour, width } => {
            let mut path = String::new();
            for stretch in stretches {
                for (i, (x, y)) in stretch.iter().enumerate() {
                    let _ = write!(path, "{}{x:.1} {y:.1}", if i == 0 { "M" } else { "L" });
                }
            }
            write!(out, "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\" stroke-linejoin=\"round\"/>")
        }
        Shape::Arc { centre, radius, from, to, colour, width } => {
            let point = |angle: f64| (centre.0 + radius * angle.cos(), centre.1 - radius * angle.sin());
            let (a, b) = (point(*from), point(*to));
            write!(
                out,
                "<path d=\"M{:.1} {:.1}A{radius:.1} {radius:.1} 0 0 1 {:.1} {:.1}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\"/>",
                a.0, a.1, b.0, b.1
            )
        }
    };
}

pub(super) fn write(picture: &Picture) -> String {
    let (width, height) = (picture.style.width, picture.style.height);
    let mut body = String::new();
    for part in &picture.shapes {
        shape(&mut body, part);
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{}\">\
         <style>text{{font-family:'Inter Variable',Inter,system-ui,sans-serif}}.n{{font-family:'JetBrains Mono Variable','JetBrains Mono',ui-monospace,monospace}}.b{{font-weight:600}}</style>\
         <rect width=\"{width}\" height=\"{height}\" rx=\"6\" fill=\"{}\" stroke=\"{}\"/>{body}</svg>",
        escape(&picture.title),
        picture.palette.surface,
        picture.palette.line,
    )
}
