//! Protected ranges.
