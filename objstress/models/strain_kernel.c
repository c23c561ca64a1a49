/* A network of strain at many inputs: sum over its perceptrons of f less its value at zero.

   LAYERS and WIDEST, the number of hidden layers and their largest width, come from the command
   line. A `lanes` holds four inputs side by side, which is what vector registers work on. */
#include <math.h>
#include <stddef.h>

#define INPUTS 7
#define PAIRS 28
#define LANES 4
#define EACH for (int k = 0; k < LANES; k++)

typedef double lanes __attribute__((vector_size(8 * LANES)));

/* Changes of softplus and of its slope, see softplus_change in differences.py. */
static void change(const lanes *argument, const double *up, const double *down, int units,
                   lanes *activation, lanes *rise)
{
    double *out = (double *)activation, *step = (double *)rise;
    const double *in = (const double *)argument;
    for (int u = 0; u < units; u++)
        EACH {
            int i = u * LANES + k;
            double d = in[i], size = fabs(d), decay = exp(-size);
            /* exp(-size) - 1, by Taylor's series where the difference would lose digits */
            double series = 1.0 / 6227020800;
            series = 1.0 / 479001600 - size * series;
            series = 1.0 / 39916800 - size * series;
            series = 1.0 / 3628800 - size * series;
            series = 1.0 / 362880 - size * series;
            series = 1.0 / 40320 - size * series;
            series = 1.0 / 5040 - size * series;
            series = 1.0 / 720 - size * series;
            series = 1.0 / 120 - size * series;
            series = 1.0 / 24 - size * series;
            series = 1.0 / 6 - size * series;
            series = 1.0 / 2 - size * series;
            series = 1.0 - size * series;
            double fall = size < 0.5 ? -size * series : decay - 1;
            double a = d > 0 ? down[u] : up[u], b = d > 0 ? up[u] : down[u];
            double small = a * fall, rest = b + a * decay;
            /* log(1 + small), likewise: 2 artanh q */
            double q = small / (2 + small), s = q * q;
            double odd = 1.0 / 21;
            odd = 1.0 / 19 + s * odd;
            odd = 1.0 / 17 + s * odd;
            odd = 1.0 / 15 + s * odd;
            odd = 1.0 / 13 + s * odd;
            odd = 1.0 / 11 + s * odd;
            odd = 1.0 / 9 + s * odd;
            odd = 1.0 / 7 + s * odd;
            odd = 1.0 / 5 + s * odd;
            odd = 1.0 / 3 + s * odd;
            odd = 1.0 + s * odd;
            double far = log(rest);
            out[i] = (d > 0 ? d : 0) + (small > -0.3 ? 2 * q * odd : far);
            double up_to = -a * b * fall / rest;
            step[i] = d > 0 ? up_to : -up_to;
        }
}

/* Weights of a perceptron, one behind the other: of each layer the matrix (rows, units) and, for
   its units, s(z), s(-z) and dW/da, all at zero. */
static void perceptron(const double *weights, const int *width, const lanes *y, int order,
                       lanes *value, lanes *gradient, lanes *hessian)
{
    const double *matrix[LAYERS], *up[LAYERS], *down[LAYERS], *by[LAYERS];
    for (int l = 0; l < LAYERS; l++) {
        int units = width[l + 1];
        matrix[l] = weights;
        up[l] = matrix[l] + width[l] * units;
        down[l] = up[l] + units;
        by[l] = down[l] + units;
        weights = by[l] + units;
    }
    lanes rise[LAYERS][WIDEST], slope[LAYERS][WIDEST], activation[WIDEST], argument[WIDEST];
    for (int l = 0; l < LAYERS; l++) {
        int units = width[l + 1];
        const lanes *in = l ? activation : y;
        for (int u = 0; u < units; u++) {
            lanes sum = {0};
            for (int v = 0; v < width[l]; v++)
                sum += matrix[l][v * units + u] * in[v];
            argument[u] = sum;
        }
        change(argument, up[l], down[l], units, activation, rise[l]);
        for (int u = 0; u < units; u++)
            slope[l][u] = up[l][u] + rise[l][u];
    }
    for (int u = 0; u < width[LAYERS]; u++)
        *value += by[LAYERS - 1][u] * activation[u];
    if (order == 0)
        return;

    /* back: changes of dW/dz from those at zero. */
    lanes back[LAYERS][WIDEST];
    for (int l = LAYERS - 1; l >= 0; l--)
        for (int v = 0; v < width[l + 1]; v++) {
            lanes sum = {0};
            if (l + 1 < LAYERS)
                for (int u = 0; u < width[l + 2]; u++)
                    sum += matrix[l + 1][v * width[l + 2] + u] * back[l + 1][u];
            back[l][v] = rise[l][v] * by[l][v] + sum * slope[l][v];
        }
    for (int i = 0; i < INPUTS; i++) {
        lanes sum = {0};
        for (int u = 0; u < width[1]; u++)
            sum += matrix[0][i * width[1] + u] * back[0][u];
        gradient[i] += sum;
    }
    if (order == 1)
        return;

    /* Sum over layers of (dz/dy)^T diag(dW/da softplus'') (dz/dy). */
    lanes along[WIDEST][INPUTS], next[WIDEST][INPUTS];
    for (int u = 0; u < width[1]; u++)
        for (int i = 0; i < INPUTS; i++)
            along[u][i] = (lanes){0} + matrix[0][i * width[1] + u];
    for (int l = 0; l < LAYERS; l++) {
        int units = width[l + 1];
        for (int u = 0; u < units; u++) {
            lanes curved = (back[l][u] + up[l][u] * by[l][u]) * (1 - slope[l][u]);
            for (int i = 0, pair = 0; i < INPUTS; i++) {
                lanes scaled = curved * along[u][i];
                for (int j = i; j < INPUTS; j++, pair++)
                    hessian[pair] += scaled * along[u][j];
            }
            for (int i = 0; i < INPUTS; i++)
                along[u][i] *= slope[l][u];
        }
        if (l + 1 == LAYERS)
            break;
        for (int u = 0; u < width[l + 2]; u++) {
            lanes sum[INPUTS] = {{0}};
            for (int v = 0; v < units; v++)
                for (int i = 0; i < INPUTS; i++)
                    sum[i] += matrix[l + 1][v * width[l + 2] + u] * along[v][i];
            for (int i = 0; i < INPUTS; i++)
                next[u][i] = sum[i];
        }
        for (int u = 0; u < width[l + 2]; u++)
            for (int i = 0; i < INPUTS; i++)
                along[u][i] = next[u][i];
    }
}

/* y (n, 7) to value (n,), gradient (n, 7) and hessian (n, 28), as far as the order. */
void network(ptrdiff_t n, const double *y, int members, const double *weights, ptrdiff_t each,
             const int *width, int order, int threads, double *value, double *gradient,
             double *hessian)
{
#pragma omp parallel for num_threads(threads) schedule(static)
    for (ptrdiff_t start = 0; start < n; start += LANES) {
        int count = n - start < LANES ? (int)(n - start) : LANES;
        lanes in[INPUTS], w = {0}, g[INPUTS] = {{0}}, h[PAIRS] = {{0}};
        for (int i = 0; i < INPUTS; i++)
            EACH in[i][k] = k < count ? y[(start + k) * INPUTS + i] : 0;
        for (int m = 0; m < members; m++)
            perceptron(weights + m * each, width, in, order, &w, g, h);
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
