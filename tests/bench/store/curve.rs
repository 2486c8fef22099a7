//! The growth curves as an SVG: a panel for each axis, both scales logarithmic.

use std::fmt::Write as _;
use std::time::Duration;

use super::growth::{Point, grouped};

/// The points of one panel.
pub(crate) struct Curve {
    pub(crate) axis: &'static str,
    pub(crate) points: Vec<Point>,
}

const WIDTH: f64 = 300.0;
const HEIGHT: f64 = 220.0;
const TOP: f64 = 56.0;
const LEFT: f64 = 64.0;
/// From one panel's left edge to the next one's.
const STEP: f64 = 470.0;

type Time = fn(&Point) -> Duration;

/// What is drawn: a name, a colour, which time of a point.
const LINES: [(&str, &str, Time); 3] = [
    ("cold start", "#b3541e", |point| point.cold),
    ("push", "#1f6feb", |point| point.push),
    ("read", "#2e7d4f", |point| point.read),
];

/// Draws all panels.
pub(crate) fn draw(curves: &[Curve]) -> String {
    let mut svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 940 340\" width=\"940\" height=\"340\" \
        font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"940\" height=\"340\" fill=\"#ffffff\"/>\n"
        .to_owned();
    let times = curves.iter().flat_map(|curve| &curve.points).flat_map(|point| LINES.map(|line| (line.2)(point)));
    let (low, high) = times.fold((0.0_f64, 1.0_f64), |(low, high), time| (low.min(log(time)), high.max(log(time))));
    let (low, high) = (low.floor(), high.ceil());
    for (curve, left) in curves.iter().zip([LEFT, LEFT + STEP]) {
        panel(&mut svg, curve, left, (low, high));
    }
    svg + "</svg>\n"
}

/// The decimal logarithm of milliseconds.
fn log(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).max(0.001).log10()
}

fn panel(svg: &mut String, curve: &Curve, left: f64, (low, high): (f64, f64)) {
    // Writing to a string cannot fail, here and below.
    let _ = writeln!(
        svg,
        "<text x=\"{left}\" y=\"24\" font-size=\"15\" font-weight=\"bold\" fill=\"#222\">Time over the number of {}</text>",
        curve.axis
    );
    let y = |value: f64| TOP + HEIGHT - (value - low) / (high - low) * HEIGHT;
    let mut decade = low;
    while decade <= high {
        let at = y(decade);
        let _ = writeln!(
            svg,
            "<line x1=\"{left}\" x2=\"{}\" y1=\"{at}\" y2=\"{at}\" stroke=\"#ddd\"/>\
             <text x=\"{}\" y=\"{}\" text-anchor=\"end\" fill=\"#555\">{}</text>",
            left + WIDTH,
            left - 8.0,
            at + 4.0,
            label(decade)
        );
        decade += 1.0;
    }
    let most = curve.points.len().saturating_sub(1).max(1);
    #[expect(clippy::cast_precision_loss, reason = "a handful of points")]
    let x = |at: usize| left + WIDTH * at as f64 / most as f64;
    for (at, point) in curve.points.iter().enumerate() {
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\" fill=\"#555\">{}</text>",
            x(at),
            TOP + HEIGHT + 20.0,
            grouped(point.size)
        );
    }
    let mut taken: Vec<f64> = Vec::new();
    for (name, colour, time) in LINES {
        let places: Vec<(f64, f64)> =
            curve.points.iter().enumerate().map(|(at, point)| (x(at), y(log(time(point))))).collect();
        let path: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            path.join(" ")
        );
        for (x, y) in &places {
            let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{colour}\"/>");
        }
        let (Some((x, end)), Some(last)) = (places.last(), curve.points.last()) else { continue };
        // Names must not lie on each other.
        let mut at = *end + 4.0;
        while taken.iter().any(|other| (other - at).abs() < 15.0) {
            at += 1.0;
        }
        taken.push(at);
        let time = crate::figures::ms(time(last));
        let _ = writeln!(svg, "<text x=\"{:.1}\" y=\"{at:.1}\" fill=\"{colour}\">{name} {time}</text>", x + 10.0);
    }
}

fn label(decade: f64) -> String {
    let value = 10_f64.powf(decade);
    if value >= 1000.0 { format!("{:.0} s", value / 1000.0) } else { format!("{value} ms") }
}
