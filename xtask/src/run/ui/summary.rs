//! The closing summary as text.

use std::time::Duration;

use crate::run::ui::Stage;

/// A line a stage, its name and seconds in columns, then the headline with the total.
pub fn render(headline: &str, stages: &[Stage], total: Duration) -> String {
    let width = stages.iter().map(|stage| stage.name.chars().count()).max().unwrap_or(0);
    let mut lines: Vec<String> = stages
        .iter()
        .map(|stage| {
            let padding = " ".repeat(width - stage.name.chars().count());
            format!("  {}{padding}  {:>7.1} s", stage.name, stage.took.as_secs_f64())
        })
        .collect();
    lines.push(format!("{headline} ({:.1} s)", total.as_secs_f64()));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_the_total_is_the_last_line() {
        let stage = |name: &str, ms| Stage { name: name.to_string(), took: Duration::from_millis(ms) };
        let text = render("up", &[stage("build", 1200), stage("load image", 12_340)], Duration::from_secs(15));
        assert_eq!(text, "  build           1.2 s\n  load image     12.3 s\nup (15.0 s)");
    }
}
