//! Agreement with scipy, statsmodels and scikit-learn, and what negative controls give.

mod fixtures;
mod null;
