#include "control.h"

int control_power(int temperature, int target)
{
    static int integral;
    int error = target - temperature;
    int power;

    integral += error / 8;
    power = error / 4 + integral / 16;
    if (power < 0) {
        return 0;
    }
    return power > 100 ? 100 : power;
}
