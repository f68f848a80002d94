/* The clinical model in both forms for R's deSolve; parameters and states in the order of forms.py. */
#include <math.h>

static double p[23];

void initmod(void (*odeparms)(int *, double *)) {
    int n = 23;
    odeparms(&n, p);
}

void textbook(int *neq, double *t, double *y, double *dy, double *out, int *ip) {
    double c = y[1] + y[3], per_cart = y[4] / c, per_tumor = y[4] / y[5];
    double expansion = p[5] * per_cart / (p[6] + per_cart);
    double kill = p[12] * per_tumor / (p[13] + per_tumor);
    dy[0] = -p[0] * y[0] + p[18] * y[1] - p[2] * y[0];
    dy[1] = p[19] * y[0] - p[1] * y[1] + expansion * y[1] - p[4] * y[1];
    dy[2] = -p[0] * y[2] + p[18] * y[3] - p[3] * y[2];
    dy[3] = p[19] * y[2] - p[1] * y[3] + p[4] * y[1];
    dy[4] = p[7] * (p[9] * c - y[4]) * (p[10] * y[5] - y[4]) - p[8] * y[4];
    dy[5] = p[11] * y[5] - kill * y[5];
    dy[6] = p[14] * (pow(y[5] / p[20], p[15]) - y[6]);
    dy[7] = p[16] * (pow(y[5] / p[20], p[17]) - y[7]);
}

void conditioned(int *neq, double *t, double *y, double *dy, double *out, int *ip) {
    double effectors = exp(y[1]), memory = exp(y[3]), bound = exp(y[4]), c = effectors + memory;
    double e_ratio = exp(y[1] - y[0]), m_ratio = exp(y[3] - y[2]), tumor_per_bound = exp(y[5] - y[4]);
    dy[0] = p[18] * e_ratio - p[0] - p[2];
    dy[1] = p[19] / e_ratio - p[1] + p[5] * bound / (p[6] * c + bound) - p[4];
    dy[2] = p[18] * m_ratio - p[0] - p[3];
    dy[3] = p[19] / m_ratio - p[1] + p[4] * effectors / memory;
    dy[4] = p[7] * (p[9] * c - bound) * (p[10] * tumor_per_bound - 1.0) - p[8];
    dy[5] = p[11] - p[12] / (p[13] * tumor_per_bound + 1.0);
    dy[6] = p[14] * (exp(p[15] * (y[5] - p[21])) - y[6]);
    dy[7] = p[16] * (exp(p[17] * (y[5] - p[21])) - y[7]);
}
