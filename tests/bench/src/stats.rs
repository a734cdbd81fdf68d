//! Medians of paired differences, and how sure they are.
//!
//! A measurement is a table of rounds; in a round everything was measured once, shortly after one another. Rounds of one block share
//! their worlds, and so whatever luck these had with memory. The bootstrap draws blocks first and rounds in them second, so an interval
//! covers that luck too.

use crate::figure::Estimate;

/// Draws of the bootstrap.
const DRAWS: usize = 1_000;

/// What was measured of one thing: blocks of rounds.
pub(crate) type Series = Vec<Vec<f64>>;

/// The median; NaN of nothing.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    let middle = values.len() / 2;
    let (below, upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    let lower = below.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let upper = *upper;
    if values.len() % 2 == 1 { upper } else { f64::midpoint(lower, upper) }
}

/// A figure of several series, with its interval: `figure` gets the median of each.
pub(crate) fn estimate(series: &[&Series], figure: impl Fn(&[f64]) -> f64) -> Estimate {
    let mut random = fastrand::Rng::with_seed(1);
    let rounds = |at: usize| series.iter().map(|one| one[at].len()).min().unwrap_or(0);
    let blocks: Vec<usize> = (0..series.first().map_or(0, |one| one.len())).filter(|at| rounds(*at) > 0).collect();
    if blocks.is_empty() {
        return Estimate::exact(f64::NAN);
    }
    let of = |drawn: &[(usize, usize)]| {
        let medians: Vec<f64> = series
            .iter()
            .map(|one| median(&mut drawn.iter().map(|(block, round)| one[*block][*round]).collect::<Vec<_>>()))
            .collect();
        figure(&medians)
    };
    let all: Vec<(usize, usize)> =
        blocks.iter().flat_map(|block| (0..rounds(*block)).map(move |round| (*block, round))).collect();
    let mut draws: Vec<f64> = (0..DRAWS)
        .map(|_| {
            let mut drawn = Vec::with_capacity(all.len());
            for _ in &blocks {
                let block = blocks[random.usize(..blocks.len())];
                drawn.extend((0..rounds(block)).map(|_| (block, random.usize(..rounds(block)))));
            }
            of(&drawn)
        })
        .collect();
    draws.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| draws[((DRAWS - 1) as f64 * share).round() as usize];
    Estimate::new(of(&all), at(0.025), at(0.975))
}

/// What a series has more than another, round by round.
pub(crate) fn difference(one: &Series, other: &Series) -> Series {
    let pair = |(a, b): (&Vec<f64>, &Vec<f64>)| a.iter().zip(b).map(|(a, b)| a - b).collect();
    one.iter().zip(other).map(pair).collect()
}

/// The mean of two series, round by round.
pub(crate) fn mean(one: &Series, other: &Series) -> Series {
    let pair = |(a, b): (&Vec<f64>, &Vec<f64>)| a.iter().zip(b).map(|(a, b)| f64::midpoint(*a, *b)).collect();
    one.iter().zip(other).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&mut [7.0]), 7.0);
        assert!(median(&mut []).is_nan());
    }

    #[test]
    fn a_shift_is_found_under_noise_that_pairs_share() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut base = Series::new();
        let mut slower = Series::new();
        for _ in 0..6 {
            let noise: Vec<f64> = (0..50).map(|_| 1_000.0 + 300.0 * random.f64()).collect();
            slower.push(noise.iter().map(|value| value + 40.0 + 10.0 * random.f64()).collect());
            base.push(noise);
        }
        let found = estimate(&[&difference(&slower, &base)], |medians| medians[0]);
        let (low, high) = found.interval.unwrap();
        assert!(low > 42.0 && high < 48.0 && low < 45.0 && high > 45.0, "{found:?}");
    }

    #[test]
    fn blocks_that_differ_widen_the_interval() {
        let series: Series = (0..6).map(|block| vec![f64::from(block * 10); 50]).collect();
        let found = estimate(&[&series], |medians| medians[0]);
        assert!(found.half_width() > 10.0, "{found:?}");
    }
}
