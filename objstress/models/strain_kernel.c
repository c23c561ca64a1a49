/* A network of strain at many inputs y: the sum over its perceptrons and the group's images of f
   less its value at zero, of its changes of slope by y, and of its second derivatives by y.

   WIDTHS, the number of inputs and of each hidden layer's units, come from the command line. A
   `lanes` holds four inputs side by side, which is what vector registers work on. All sums are
   written out in lanes, so that no compiler needs leave to reorder them. */
#include <stddef.h>
#include <stdint.h>

#define INPUTS 7
#define PAIRS 28
#define LANES 4
#define UNROLL _Pragma("GCC unroll 8")

typedef double lanes __attribute__((vector_size(8 * LANES)));
typedef uint64_t bits __attribute__((vector_size(8 * LANES)));

static const int width[] = {WIDTHS};
enum { LAYERS = sizeof width / sizeof *width - 1 };

static inline lanes pick(bits mask, lanes yes, lanes no)
{
    return (lanes)((mask & (bits)yes) | (~mask & (bits)no));
}

/* Changes of softplus and of its slope, see softplus_change in differences.py: `up` and `down` are
   s(z) and s(-z). */
static inline void change(lanes d, double up, double down, lanes *activation, lanes *rise)
{
    const bits positive = (bits)(d > 0), sign = (bits)(lanes){0} + ((uint64_t)1 << 63);
    const bits one = (bits)((lanes){0} + 1.0);
    const lanes a = pick(positive, (lanes){0} + down, (lanes){0} + up);
    const lanes b = pick(positive, (lanes){0} + up, (lanes){0} + down);
    lanes size = (lanes)((bits)d & ~sign);
    size = pick((bits)(size < 700.0), size, (lanes){0} + 700.0); /* exp(-size) stays normal */

    /* exp(-size) = 2^k e^r, |r| < ln 2 / 2: adding 1.5 2^52 rounds, and leaves k in the last bits. */
    const double shift = 6755399441055744.0;
    const lanes shifted = size * -1.4426950408889634 + shift, k = shifted - shift;
    const lanes power = (lanes)(((bits)shifted << 52) + one);
    const lanes r = (-size - k * 0.6931471803691238) - k * 1.9082149292705877e-10;
    /* (e^r - 1 - r) / r^2 by Taylor's series, in pairs so that no term waits for all others */
    const lanes r2 = r * r, r4 = r2 * r2, r8 = r4 * r4;
    const lanes low = (r * (1.0 / 6) + 1.0 / 2) + r2 * (r * (1.0 / 120) + 1.0 / 24);
    const lanes middle =
        (r * (1.0 / 5040) + 1.0 / 720) + r2 * (r * (1.0 / 362880) + 1.0 / 40320);
    const lanes high = (r * (1.0 / 39916800) + 1.0 / 3628800) +
                       r2 * (r * (1.0 / 6227020800) + 1.0 / 479001600);
    const lanes series = r + r2 * (low + r4 * middle + r8 * high);
    const lanes decay = power * series + power;
    const lanes fall = power * series + (power - 1.0); /* exp(-size) - 1 with all its digits */

    /* log(b + a exp(-size)) = n ln 2 + 2 artanh q, and where n = 0 log(1 + a (exp(-size) - 1)). */
    const lanes rest = b + a * decay;
    const bits half = one - (bits)((lanes){0} + 0.7071067811865476);
    const bits exponent = ((bits)rest + half) >> 52; /* n + 1023 */
    const lanes mantissa = (lanes)((bits)rest - (exponent << 52) + one);
    const lanes n = (lanes)(exponent | 0x4330000000000000u) - (4503599627370496.0 + 1023.0);
    const lanes f = pick((bits)(exponent == 1023), a * fall, mantissa - 1.0);
    const lanes both = 1.0 / (rest * (2.0 + f));
    const lanes q = f * rest * both, s = q * q;
    const lanes s2 = s * s, s4 = s2 * s2, s8 = s4 * s4;
    const lanes near = (s * (1.0 / 5) + 1.0 / 3) + s2 * (s * (1.0 / 9) + 1.0 / 7);
    const lanes far = (s * (1.0 / 13) + 1.0 / 11) + s2 * (s * (1.0 / 17) + 1.0 / 15);
    const lanes odd = near + s4 * far + s8 * (s * (1.0 / 21) + 1.0 / 19);
    const lanes twice = q + q;
    const lanes logarithm = n * 0.6931471805599453 + (twice + twice * s * odd);
    *activation = (lanes)(positive & (bits)d) + logarithm;
    const lanes less = a * b * fall * (2.0 + f) * both;
    *rise = (lanes)((bits)less ^ (positive & sign));
}

/* Weights of a perceptron, one behind the other: the first matrix (7, units) of each image; of
   each layer its matrix (rows, units) but of the first one, and for its units s(z), s(-z) and
   dW/da, all at zero. */
static void perceptron(const double *weights, int images, const lanes *y, int order, lanes *value,
                       lanes *gradient, lanes *hessian)
{
    const double *first = weights, *matrix[LAYERS], *up[LAYERS], *down[LAYERS], *by[LAYERS];
    weights += images * INPUTS * width[1];
    for (int l = 0; l < LAYERS; l++) {
        const int units = width[l + 1];
        matrix[l] = weights;
        up[l] = l ? matrix[l] + width[l] * units : weights;
        down[l] = up[l] + units;
        by[l] = down[l] + units;
        weights = by[l] + units;
    }
    for (int g = 0; g < images; g++) {
        matrix[0] = first + g * INPUTS * width[1];
        lanes slope[LAYERS][WIDEST], rise[LAYERS][WIDEST], activation[2][WIDEST];
        UNROLL for (int l = 0; l < LAYERS; l++)
        {
            const int rows = width[l], units = width[l + 1];
            const lanes *in = l ? activation[l % 2] : y;
            lanes *out = activation[(l + 1) % 2];
            for (int u = 0; u < units; u++) {
                lanes sum = {0};
                for (int v = 0; v < rows; v++)
                    sum += matrix[l][v * units + u] * in[v];
                out[u] = sum;
            }
            for (int u = 0; u < units; u++) {
                change(out[u], up[l][u], down[l][u], &out[u], &rise[l][u]);
                slope[l][u] = up[l][u] + rise[l][u];
            }
        }
        for (int u = 0; u < width[LAYERS]; u++)
            *value += by[LAYERS - 1][u] * activation[LAYERS % 2][u];
        if (order == 0)
            continue;

        /* back: changes of dW/dz from those at zero. */
        lanes back[LAYERS][WIDEST];
        UNROLL for (int l = LAYERS - 1; l >= 0; l--)
        {
            const int units = width[l + 1];
            for (int v = 0; v < units; v++) {
                lanes sum = {0};
                if (l + 1 < LAYERS)
                    for (int u = 0; u < width[l + 2]; u++)
                        sum += matrix[l + 1][v * width[l + 2] + u] * back[l + 1][u];
                back[l][v] = rise[l][v] * by[l][v] + sum * slope[l][v];
            }
        }
        for (int i = 0; i < INPUTS; i++) {
            lanes sum = {0};
            for (int u = 0; u < width[1]; u++)
                sum += matrix[0][i * width[1] + u] * back[0][u];
            gradient[i] += sum;
        }
        if (order == 1)
            continue;

        /* Sum over layers of (dz/dy)^T diag(dW/da softplus'') (dz/dy). */
        lanes along[2][WIDEST][INPUTS];
        for (int u = 0; u < width[1]; u++)
            UNROLL for (int i = 0; i < INPUTS; i++)
                along[0][u][i] = (lanes){0} + matrix[0][i * width[1] + u];
        UNROLL for (int l = 0; l < LAYERS; l++)
        {
            const int units = width[l + 1];
            lanes(*a)[INPUTS] = along[l % 2], (*next)[INPUTS] = along[(l + 1) % 2];
            lanes curved[WIDEST];
            for (int u = 0; u < units; u++)
                curved[u] = (back[l][u] + up[l][u] * by[l][u]) * (1 - slope[l][u]);
            lanes *h = hessian;
            UNROLL for (int i = 0; i < INPUTS; i++)
            {
                lanes sum[INPUTS];
                UNROLL for (int j = i; j < INPUTS; j++) sum[j] = h[j - i];
                for (int u = 0; u < units; u++) {
                    const lanes scaled = curved[u] * a[u][i];
                    UNROLL for (int j = i; j < INPUTS; j++) sum[j] += scaled * a[u][j];
                }
                UNROLL for (int j = i; j < INPUTS; j++) h[j - i] = sum[j];
                h += INPUTS - i;
            }
            if (l + 1 == LAYERS)
                break;
            const int wider = width[l + 2];
            for (int u = 0; u < units; u++)
                UNROLL for (int i = 0; i < INPUTS; i++) a[u][i] *= slope[l][u];
            for (int u = 0; u < wider; u++) {
                lanes sum[INPUTS] = {{0}};
                for (int v = 0; v < units; v++) {
                    const double w = matrix[l + 1][v * wider + u];
                    UNROLL for (int i = 0; i < INPUTS; i++) sum[i] += w * a[v][i];
                }
                UNROLL for (int i = 0; i < INPUTS; i++) next[u][i] = sum[i];
            }
        }
    }
}

/* y (n, 7) to value (n,), gradient (n, 7) and hessian (n, 28), as far as the order. */
void network(ptrdiff_t n, const double *y, int members, int images, const double *weights,
             ptrdiff_t each, int order, int threads, double *value, double *gradient,
             double *hessian)
{
#pragma omp parallel for num_threads(threads) schedule(static)
    for (ptrdiff_t start = 0; start < n; start += LANES) {
        const int count = n - start < LANES ? (int)(n - start) : LANES;
        lanes in[INPUTS], w = {0}, g[INPUTS] = {{0}}, h[PAIRS] = {{0}};
        for (int i = 0; i < INPUTS; i++)
            for (int k = 0; k < LANES; k++)
                in[i][k] = k < count ? y[(start + k) * INPUTS + i] : 0;
        for (int m = 0; m < members; m++)
            perceptron(weights + m * each, images, in, order, &w, g, h);
        for (int k = 0; k < count; k++) {
            value[start + k] = w[k];
            if (order >= 1)
                for (int i = 0; i < INPUTS; i++)
                    gradient[(start + k) * INPUTS + i] = g[i][k];
            if (order >= 2)
                for (int i = 0; i < PAIRS; i++)
                    hessian[(start + k) * PAIRS + i] = h[i][k];
        }
    }
}
