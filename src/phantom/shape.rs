//! Solids as signed distances in millimetres, negative inside. Approximate away from the surface,
//! where only the sign and the first few millimetres matter.

/// A solid with a box around it, so that most points are answered without looking closer.
#[derive(Debug, Clone)]
pub(super) struct Solid {
    form: Form,
    low: [f64; 3],
    high: [f64; 3],
}

#[derive(Debug, Clone)]
enum Form {
    Ellipsoid { centre: [f64; 3], radii: [f64; 3] },
    Tube { points: Vec<TubePoint> },
}

/// A point on the axis of a tube.
#[derive(Debug, Clone, Copy)]
pub(super) struct TubePoint {
    /// Patient millimetres.
    pub(super) at: [f64; 3],
    /// Radius in millimetres.
    pub(super) radius: f64,
}

/// How far outside its box a solid is still asked for its distance.
const REACH_MM: f64 = 6.0;

/// What a solid answers for a point beyond [`REACH_MM`] of its box.
pub(super) const FAR_MM: f64 = 1000.0;

impl Solid {
    /// An ellipsoid along the patient's axes.
    pub(super) fn ellipsoid(centre: [f64; 3], radii: [f64; 3]) -> Self {
        let low = [0, 1, 2].map(|axis| centre[axis] - radii[axis] - REACH_MM);
        let high = [0, 1, 2].map(|axis| centre[axis] + radii[axis] + REACH_MM);
        Self { form: Form::Ellipsoid { centre, radii }, low, high }
    }

    /// Round cones from point to point.
    pub(super) fn tube(points: &[([f64; 3], f64)]) -> Self {
        let mut low = [f64::MAX; 3];
        let mut high = [f64::MIN; 3];
        for (at, radius) in points {
            for axis in 0..3 {
                low[axis] = low[axis].min(at[axis] - radius - REACH_MM);
                high[axis] = high[axis].max(at[axis] + radius + REACH_MM);
            }
        }
        let points = points.iter().map(|(at, radius)| TubePoint { at: *at, radius: *radius });
        Self { form: Form::Tube { points: points.collect() }, low, high }
    }

    /// Signed distance; [`FAR_MM`] well away from the solid.
    pub(super) fn distance(&self, point: [f64; 3]) -> f64 {
        let inside_box =
            (0..3).all(|axis| point[axis] >= self.low[axis] && point[axis] <= self.high[axis]);
        if !inside_box {
            return FAR_MM;
        }
        match &self.form {
            Form::Ellipsoid { centre, radii } => ellipsoid_distance(point, *centre, *radii),
            Form::Tube { points } => tube_distance(point, points),
        }
    }
}

/// First-order distance to an ellipsoid: the implicit function over its gradient.
pub(super) fn ellipsoid_distance(point: [f64; 3], centre: [f64; 3], radii: [f64; 3]) -> f64 {
    let mut value = 0.0;
    let mut gradient = 0.0;
    for axis in 0..3 {
        let scaled = (point[axis] - centre[axis]) / radii[axis];
        value += scaled * scaled;
        gradient += (scaled / radii[axis]) * (scaled / radii[axis]);
    }
    let smallest = radii[0].min(radii[1]).min(radii[2]);
    if gradient < 1e-12 {
        return -smallest;
    }
    let length = value.sqrt();
    length * (length - 1.0) / gradient.sqrt()
}

fn tube_distance(point: [f64; 3], points: &[TubePoint]) -> f64 {
    points.windows(2).map(|pair| cone_distance(point, pair[0], pair[1])).fold(FAR_MM, f64::min)
}

fn cone_distance(point: [f64; 3], from: TubePoint, to: TubePoint) -> f64 {
    let along = subtract(to.at, from.at);
    let offset = subtract(point, from.at);
    let t = (dot(offset, along) / dot(along, along).max(1e-9)).clamp(0.0, 1.0);
    let nearest = [0, 1, 2].map(|axis| offset[axis] - t * along[axis]);
    dot(nearest, nearest).sqrt() - (from.radius + t * (to.radius - from.radius))
}

/// Union with a fillet of about `radius` millimetres.
pub(super) fn smooth_union(a: f64, b: f64, radius: f64) -> f64 {
    let h = (0.5 + 0.5 * (b - a) / radius).clamp(0.0, 1.0);
    b + (a - b) * h - radius * h * (1.0 - h)
}

/// Intersection with a rounded edge of about `radius` millimetres.
pub(super) fn smooth_intersection(a: f64, b: f64, radius: f64) -> f64 {
    -smooth_union(-a, -b, radius)
}

/// The scalar product.
pub(super) fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

/// `a - b`.
pub(super) fn subtract(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

/// `a + b`.
pub(super) fn add(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sphere_knows_its_distance() {
        let ball = Solid::ellipsoid([1.0, 2.0, 3.0], [10.0; 3]);
        for (x, expected) in [(1.0, -10.0), (6.0, -5.0), (11.0, 0.0), (14.0, 3.0)] {
            assert!((ball.distance([x, 2.0, 3.0]) - expected).abs() < 1e-9, "{x}");
        }
        assert!(ball.distance([60.0, 2.0, 3.0]) >= FAR_MM);
    }

    #[test]
    fn a_tube_knows_its_distance() {
        let tube = Solid::tube(&[([0.0; 3], 2.0), ([10.0, 0.0, 0.0], 4.0)]);
        assert!((tube.distance([5.0, 5.0, 0.0]) - 2.0).abs() < 1e-9);
        assert!((tube.distance([14.0, 0.0, 0.0])).abs() < 1e-9);
    }

    #[test]
    fn smooth_operations_stay_near_the_sharp_ones() {
        for (a, b) in [(-5.0, 3.0), (2.0, 2.0), (20.0, -1.0)] {
            let union: f64 = smooth_union(a, b, 8.0);
            assert!(union <= f64::min(a, b) && union >= f64::min(a, b) - 2.0);
            let both: f64 = smooth_intersection(a, b, 8.0);
            assert!(both >= f64::max(a, b) && both <= f64::max(a, b) + 2.0);
        }
    }
}
