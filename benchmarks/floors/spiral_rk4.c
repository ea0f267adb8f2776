/* The floor under a training step on the spiral: n steps of RK4 for x' = V tanh(W x^3 + b) + c, x in R^2, M hidden
   units, and the gradient of mean(x_end^2) by a hand-written discrete adjoint. Everything is kept, nothing allocated.

   p holds W (M, 2), b (M), V (2, M), c (2); gp is its gradient. work holds n * 4 * (2 + M) numbers: for each stage its
   state and its tanh. Called by benchmarks/step.py. */
#include <math.h>
#define M 50
#define STAGE (2 + M)

static void field(const float *p, const float *x, float *k, float *kept) {
    const float *W = p, *b = p + 2 * M, *V = p + 3 * M, *c = p + 5 * M;
    const float u = x[0] * x[0] * x[0], v = x[1] * x[1] * x[1];
    float *a = kept + 2, k0 = c[0], k1 = c[1];
    kept[0] = x[0], kept[1] = x[1];
    for (int i = 0; i < M; i++) a[i] = tanhf(W[2 * i] * u + W[2 * i + 1] * v + b[i]);
    for (int i = 0; i < M; i++) k0 += V[i] * a[i], k1 += V[M + i] * a[i];
    k[0] = k0, k[1] = k1;
}

/* gx = (df/dx)^T q, gp += (df/dp)^T q, at a stage that was kept. */
static void product(const float *p, const float *kept, const float *q, float *gx, float *gp) {
    const float *W = p, *V = p + 3 * M, *x = kept, *a = kept + 2;
    const float u = x[0] * x[0] * x[0], v = x[1] * x[1] * x[1];
    float gu = 0, gv = 0, *gW = gp, *gb = gp + 2 * M, *gV = gp + 3 * M, *gc = gp + 5 * M;
    for (int i = 0; i < M; i++) {
        const float s = (V[i] * q[0] + V[M + i] * q[1]) * (1 - a[i] * a[i]);
        gW[2 * i] += s * u, gW[2 * i + 1] += s * v, gb[i] += s;
        gV[i] += q[0] * a[i], gV[M + i] += q[1] * a[i];
        gu += s * W[2 * i], gv += s * W[2 * i + 1];
    }
    gc[0] += q[0], gc[1] += q[1];
    gx[0] = gu * 3 * x[0] * x[0], gx[1] = gv * 3 * x[1] * x[1];
}

void step(int n, float h, const float *p, const float *x0, float *x, float *gx0, float *gp, float *work) {
    static const float at[4] = {0, 0.5f, 0.5f, 1}, weight[4] = {1 / 6.0f, 1 / 3.0f, 1 / 3.0f, 1 / 6.0f};
    x[0] = x0[0], x[1] = x0[1];
    for (int j = 0; j < n; j++) {
        float k[2] = {0, 0}, sum[2] = {0, 0};
        for (int s = 0; s < 4; s++) {
            const float y[2] = {x[0] + h * at[s] * k[0], x[1] + h * at[s] * k[1]};
            field(p, y, k, work + (4 * j + s) * STAGE);
            sum[0] += weight[s] * k[0], sum[1] += weight[s] * k[1];
        }
        x[0] += h * sum[0], x[1] += h * sum[1];
    }
    float a[2] = {x[0], x[1]}; /* of mean(x^2), x in R^2 */
    for (int i = 0; i < 5 * M + 2; i++) gp[i] = 0;
    for (int j = n - 1; j >= 0; j--) {
        float g[2] = {0, 0}, total[2] = {a[0], a[1]};
        for (int s = 3; s >= 0; s--) {
            const float next = s < 3 ? at[s + 1] : 0;
            const float q[2] = {h * (weight[s] * a[0] + next * g[0]), h * (weight[s] * a[1] + next * g[1])};
            product(p, work + (4 * j + s) * STAGE, q, g, gp);
            total[0] += g[0], total[1] += g[1];
        }
        a[0] = total[0], a[1] = total[1];
    }
    gx0[0] = a[0], gx0[1] = a[1];
}
