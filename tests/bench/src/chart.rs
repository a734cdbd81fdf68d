//! A chart: a horizontal bar for each figure, with its interval, readable on light and on dark pages.

use crate::figure::{Estimate, Unit};
use std::fmt::Write;

/// A bar.
pub(crate) struct Bar {
    /// What it is of.
    pub(crate) name: String,
    /// What kind of thing that is.
    pub(crate) kind: Kind,
    /// How long it is.
    pub(crate) estimate: Estimate,
}

/// What a bar is of; each has a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// What cannot be gone below.
    Floor,
    /// The filter.
    Ours,
    /// What others need.
    Rival,
}

impl Kind {
    const ALL: [(Kind, &'static str); 3] =
        [(Kind::Ours, "the filter"), (Kind::Floor, "floors"), (Kind::Rival, "rivals")];

    fn class(self) -> &'static str {
        match self {
            Kind::Floor => "floor",
            Kind::Ours => "ours",
            Kind::Rival => "rival",
        }
    }
}

const WIDTH: f64 = 860.0;
const NAMES: f64 = 250.0;
const VALUES: f64 = 150.0;
const TOP: f64 = 64.0;
const ROW: f64 = 30.0;
const THICK: f64 = 16.0;

const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#24292f}.title{font-weight:600;font-size:15px}.quiet{fill:#57606a}\
    .axis{stroke:#8c959f}.grid{stroke:#d0d7de}.whisker{stroke:#24292f;stroke-width:1.5}\
    .floor{fill:#8c959f}.ours{fill:#0969da}.rival{fill:#bf8700}\
    @media(prefers-color-scheme:dark){text{fill:#e6edf3}.quiet{fill:#9198a1}.axis{stroke:#656c76}.grid{stroke:#3d444d}\
    .whisker{stroke:#e6edf3}.floor{fill:#656c76}.ours{fill:#4493f8}.rival{fill:#d29922}}";

/// Draws the bars, in nanoseconds.
pub(crate) fn render(title: &str, bars: &[Bar]) -> String {
    let reach = |bar: &Bar| bar.estimate.interval.map_or(bar.estimate.value, |(_, high)| high.max(bar.estimate.value));
    let step = step(bars.iter().map(reach).fold(1.0, f64::max));
    let most = (bars.iter().map(reach).fold(1.0, f64::max) / step).ceil() * step;
    let least = bars.iter().filter_map(|bar| bar.estimate.interval).map(|(low, _)| low).fold(0.0, f64::min);
    let least = (least / step).floor() * step;
    let x = |value: f64| NAMES + (value.clamp(least, most) - least) / (most - least) * (WIDTH - NAMES - VALUES);
    let zero = x(0.0);
    let height = TOP + ROW * bars.len() as f64 + 30.0;
    let mut out = String::new();
    let mut put = |line: String| writeln!(out, "{line}").expect("a string takes whatever is written");
    put(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" role=\"img\">"
    ));
    put(format!("<title>{}</title>\n<style>{STYLE}</style>", escaped(title)));
    put(format!("<text class=\"title\" x=\"12\" y=\"24\">{}</text>", escaped(title)));
    let mut at = NAMES;
    for (kind, name) in Kind::ALL {
        put(format!("<rect class=\"{}\" x=\"{at}\" y=\"36\" width=\"10\" height=\"10\" rx=\"2\"/>", kind.class()));
        put(format!("<text class=\"quiet\" x=\"{}\" y=\"46\">{name}</text>", at + 15.0));
        at += 100.0;
    }
    let bottom = TOP + ROW * bars.len() as f64;
    for tick in (least / step).round() as i32..=(most / step).round() as i32 {
        let value = f64::from(tick) * step;
        let class = if tick == 0 { "axis" } else { "grid" };
        put(format!("<line class=\"{class}\" x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>", x(value)));
        let (x, y) = (x(value), bottom + 18.0);
        put(format!("<text class=\"quiet\" x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{value}</text>"));
    }
    for (bar, row) in bars.iter().zip(0_u32..) {
        let middle = TOP + ROW * (f64::from(row) + 0.5);
        let (text, top, end) = (middle + 4.5, middle - THICK / 2.0, x(bar.estimate.value));
        put(format!("<text x=\"{}\" y=\"{text}\" text-anchor=\"end\">{}</text>", NAMES - 10.0, escaped(&bar.name)));
        let (class, left, width) = (bar.kind.class(), zero.min(end), (end - zero).abs().max(1.0));
        put(format!(
            "<rect class=\"{class}\" x=\"{left:.1}\" y=\"{top}\" width=\"{width:.1}\" height=\"{THICK}\" rx=\"2\"/>"
        ));
        let mut label = end;
        if let Some((low, high)) = bar.estimate.interval {
            let (low, high) = (x(low), x(high));
            label = label.max(high);
            let (up, down) = (middle - 4.0, middle + 4.0);
            put(format!(
                "<path class=\"whisker\" fill=\"none\" d=\"M{low:.1} {middle}H{high:.1}M{low:.1} {up}V{down}M{high:.1} {up}V{down}\"/>"
            ));
        }
        let shown = Unit::Nanoseconds.estimate(&bar.estimate);
        put(format!("<text x=\"{:.1}\" y=\"{text}\">{}</text>", label + 8.0, escaped(&shown)));
    }
    put("</svg>".to_owned());
    out
}

/// A round number of which about six make the most.
fn step(most: f64) -> f64 {
    let power = 10_f64.powf((most / 6.0).log10().floor());
    let times = [1.0, 2.0, 5.0, 10.0].into_iter().find(|times| times * power >= most / 6.0);
    (times.unwrap_or(10.0) * power).max(1.0)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_for_each_and_nothing_unescaped() {
        let bar = |value: f64| Bar {
            name: "a < b".to_owned(),
            kind: Kind::Ours,
            estimate: Estimate::new(value, value - 5.0, value + 5.0),
        };
        let chart = render("x & y", &[bar(73.0), bar(1_101.0), bar(-2.0)]);
        assert_eq!(chart.matches("class=\"whisker\"").count(), 3);
        assert!(chart.contains("a &lt; b") && chart.contains("x &amp; y"));
        assert!(!chart.contains("NaN") && !chart.contains("width=\"-"));
    }

    #[test]
    fn steps_are_round() {
        assert_eq!([60.0, 100.0, 1_101.0, 7.0].map(step), [10.0, 20.0, 200.0, 2.0]);
    }
}
