//! Where everything goes on the overview page.

use super::canvas::Rect;

/// Width of the page in pixels.
pub(super) const WIDTH: i32 = 1500;
/// Height of the page in pixels.
pub(super) const HEIGHT: i32 = 1080;
/// Space at the sides.
pub(super) const MARGIN: i32 = 20;
/// Space between cells.
const GUTTER: i32 = 8;
/// Height of the banner.
pub(super) const BANNER: i32 = 34;
/// Top of the title, below the banner or where it would be.
pub(super) const TITLE_TOP: i32 = BANNER + 12;
/// Top of the column headings.
pub(super) const HEADING_TOP: i32 = 112;
/// Top of the first row of cells.
const CELLS_TOP: i32 = 138;
/// Heights of the axial, coronal and sagittal rows.
const ROWS: [i32; 3] = [352, 258, 258];
/// Top of the legend.
pub(super) const LEGEND_TOP: i32 = HEIGHT - 40;

/// The cell of a column and a row, each 0..3.
pub(super) fn cell(column: usize, row: usize) -> Rect {
    let width = (WIDTH - 2 * MARGIN - 2 * GUTTER) / 3;
    let above: i32 = ROWS[..row].iter().map(|height| height + GUTTER).sum();
    Rect {
        x: MARGIN + column as i32 * (width + GUTTER),
        y: CELLS_TOP + above,
        width,
        height: ROWS[row],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_lie_on_the_page_and_apart() {
        let last = cell(2, 2);
        assert!(last.right() <= WIDTH - MARGIN && last.bottom() < LEGEND_TOP);
        assert!(cell(0, 0).right() < cell(1, 0).x && cell(0, 0).bottom() < cell(0, 1).y);
    }
}
