/* What a trained network says of one picture.
 *
 *     cc predict.c -I../include -L../../../target/release -ldropforge_c -o predict
 *     LD_LIBRARY_PATH=../../../target/release ./predict runs/digits five.png
 */
#include "dropforge.h"

#include <stdio.h>
#include <stdlib.h>

int main(int count, char **words) {
    if (count != 3) {
        fprintf(stderr, "usage: %s RUN PICTURE\n", words[0]);
        return 2;
    }
    dropforge_model *model = dropforge_open(words[1]);
    if (!model) {
        fprintf(stderr, "%s\n", dropforge_error());
        return 1;
    }
    size_t outputs = dropforge_outputs(model);
    float *row = malloc(outputs * sizeof *row);
    if (!row || dropforge_predict_image(model, words[2], row) != 0) {
        fprintf(stderr, "%s\n", row ? dropforge_error() : "out of memory");
        free(row);
        dropforge_close(model);
        return 1;
    }
    for (size_t index = 0; index < outputs; index++) {
        const char *name = dropforge_class(model, index);
        printf("%s\t%.6f\n", name ? name : "", row[index]);
    }
    free(row);
    dropforge_close(model);
    return 0;
}
