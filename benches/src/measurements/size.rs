//! The size of the upload, and the packages that it is built from.

use anyhow::Result;

use crate::programs;
use crate::row::{Figure, Row};
use crate::setup::Setup;
use crate::statistics::Samples;
use crate::units::count;

/// Compares the release build with the plain build.
pub(super) fn rows(setup: &Setup) -> Result<Vec<Row>> {
    let size = |program| -> Result<f64> {
        let bytes = u32::try_from(programs::zipped(program)?)?;
        Ok(f64::from(bytes) / f64::from(1 << 20))
    };
    let packages = |manifest: &_| count(programs::dependencies(manifest)?);
    let row = |name: &str, title: &str, function: f64, plain: f64, unit, target| Row {
        name: name.to_owned(),
        title: title.to_owned(),
        yardstick: "the plain build".to_owned(),
        function: Figure::new(Samples::one(function), unit),
        reference: Figure::new(Samples::one(plain), unit),
        ratio: Samples::one(function / plain),
        target,
        result: None,
    };
    Ok(vec![
        row(
            "Zipped size",
            "release binary, zipped",
            size(&setup.function)?,
            size(setup.plain()?)?,
            "MiB",
            Some(0.6),
        ),
        row(
            "Packages",
            "packages in the release build",
            packages(&programs::root().join("Cargo.toml"))?,
            packages(&programs::plain_manifest_path())?,
            "",
            None,
        ),
    ])
}
